// Keeps the page of one's photos live. Without it a reload shows the same.

import { followFeed } from "./feed_stream.js";

const jobs = document.getElementById("jobs");
const announcer = document.getElementById("announcer");

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

followFeed(() => "/feed/stream", { job: onJob });
