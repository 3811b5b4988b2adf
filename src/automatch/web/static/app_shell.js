// Registers the service worker, and brings the page back that was asked for while there was no network.

navigator.serviceWorker?.register("/sw.js").catch(() => {});

if (document.getElementById("offline")) window.addEventListener("online", () => location.reload());
