// Registers the service worker, and brings the page back that was asked for while there was no network.

const RETRY_MS = 4_000;

navigator.serviceWorker?.register("/sw.js").catch(() => {});

// The browser says that there is a network before anything can be reached.
const comeBack = () => fetch("/live", { redirect: "manual", cache: "no-store" }).then(() => location.reload(), () => {});

if (document.getElementById("offline")) {
  window.addEventListener("online", comeBack);
  setInterval(comeBack, RETRY_MS);
}
