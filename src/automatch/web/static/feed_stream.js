// The connection of the feed, and what the page says of it: live, reconnecting, or offline since when.

const SILENT_MS = 5_000;
const MARGIN_MS = 1_500;
const RETRY_MS = { least: 2_000, spread: 2_000 };
const RELOAD_AFTER_MS = 3_000;

// Whoever has signed out elsewhere is sent to sign in; an event stream cannot tell.
async function checkSession() {
  const answer = await fetch("/live", { redirect: "manual", cache: "no-store" }).catch(() => null);
  if (answer?.type === "opaqueredirect") location.reload();
}

let hearsNews = false;

/** Leaves it to the live connection to show something, however busy the server is; without one, a reload does. */
export function expectNews(isShown, mayReload = () => true) {
  const look = () => {
    if (isShown()) return;
    if (hearsNews) setTimeout(look, RELOAD_AFTER_MS);
    else if (mayReload()) location.reload();
  };
  setTimeout(look, RELOAD_AFTER_MS);
}

// Without a label the page stays silent about it.
export function followFeed(addressNow, listeners, label) {
  let source, watch, retry, giveUp, state;
  let silentMs = SILENT_MS;
  let heardAt = Date.now();

  function show(next) {
    if (next === state) return;
    state = next;
    if (!label) return;
    const since = new Date(heardAt).toLocaleTimeString(document.documentElement.lang, { hour: "2-digit", minute: "2-digit" });
    label.hidden = false;
    label.dataset.state = next;
    label.textContent = label.dataset[next].replace("{time}", since);
  }

  function heard() {
    heardAt = Date.now();
    clearTimeout(watch);
    watch = setTimeout(lose, silentMs);
  }

  function close() {
    clearTimeout(watch);
    clearTimeout(retry);
    source?.close();
    hearsNews = false;
  }

  function lose() {
    close();
    if (document.hidden) return;
    if (!navigator.onLine) show("offline");
    else if (state !== "offline") show("reconnecting");
    giveUp ??= setTimeout(() => show("offline"), SILENT_MS - (Date.now() - heardAt));
    retry = setTimeout(connect, RETRY_MS.least + Math.random() * RETRY_MS.spread);
    checkSession();
  }

  function connect() {
    close();
    // A browser opens only six connections to a server, so a hidden page must not hold one.
    if (document.hidden) return;
    source = new EventSource(addressNow());
    watch = setTimeout(lose, silentMs);
    source.addEventListener("open", () => {
      clearTimeout(giveUp);
      giveUp = undefined;
      hearsNews = true;
      heard();
      show("live");
      window.dispatchEvent(new Event("feedlive"));
    });
    source.addEventListener("error", lose);
    // The token has expired; the next request renews it.
    source.addEventListener("reauth", connect);
    source.addEventListener("ready", (event) => (silentMs = 1_000 * JSON.parse(event.data).ping_s + MARGIN_MS));
    for (const [kind, listener] of Object.entries({ ping: () => {}, ...listeners })) {
      source.addEventListener(kind, (event) => {
        heard();
        listener(event);
      });
    }
  }

  document.addEventListener("visibilitychange", connect);
  window.addEventListener("online", connect);
  window.addEventListener("offline", lose);
  // A page that the browser kept comes back with a connection that is none any more.
  window.addEventListener("pageshow", (event) => event.persisted && connect());
  window.addEventListener("pagehide", close);
  connect();
}
