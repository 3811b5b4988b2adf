// Keeps the page of one's photos live. Without it a reload shows the same.

const RETRY_MS = 5_000;

const jobs = document.getElementById("jobs");
const announcer = document.getElementById("announcer");
let source;

function onJob({ data }) {
  const template = document.createElement("template");
  template.innerHTML = JSON.parse(data).photo;
  const item = template.content.firstElementChild;
  const old = document.getElementById(item.id);
  if (old?.dataset.status === item.dataset.status && old.textContent === item.textContent) return;
  const details = item.querySelector(":scope > details");
  if (details && old?.querySelector(":scope > details[open]")) details.open = true;
  const hadFocus = old?.contains(document.activeElement);
  old ? old.replaceWith(item) : jobs.prepend(item);
  if (hadFocus) item.querySelector("summary, button, a")?.focus();
  if (item.dataset.announce) announcer.textContent = item.dataset.announce;
}

function connect() {
  source?.close();
  // A browser opens only six connections to a server, so a hidden page must not hold one.
  if (document.hidden) return;
  source = new EventSource("/feed/stream");
  source.addEventListener("job", onJob);
  // The browser itself reconnects, unless the server refused.
  source.addEventListener("error", () => source.readyState === EventSource.CLOSED && setTimeout(connect, RETRY_MS));
}

document.addEventListener("visibilitychange", connect);
connect();
