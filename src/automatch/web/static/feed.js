// Updates the feed live. Without it the page works, and a reload shows the same.

import { markNew, putCard } from "./cards.js";
import { followFeed } from "./feed_stream.js";
import { text } from "./texts.js";

const ANNOUNCE_AFTER_MS = 1_000;

const cards = document.getElementById("cards");
const jobs = document.getElementById("jobs");
const announcer = document.getElementById("announcer");

let lastPosition = Number(cards.dataset.lastPosition);
let announcing;

const matchLabels = [];
const sentences = [];

// Twenty matches can arrive at once; a screen reader hears them as one sentence.
function announceSoon() {
  announcing ??= setTimeout(() => {
    announcing = undefined;
    const [best, ...others] = matchLabels.splice(0).reverse();
    const spoken = sentences.splice(0);
    if (best) spoken.push(text("new_matches", { count: others.length + 1, best }));
    announcer.textContent = spoken.join(" ");
  }, ANNOUNCE_AFTER_MS);
}

function toElement(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content.firstElementChild;
}

function onMatch(event) {
  lastPosition = Math.max(lastPosition, Number(event.lastEventId));
  const { html, profile_id: profileId } = JSON.parse(event.data);
  const card = toElement(html);
  if (!putCard(card, profileId)) return;
  matchLabels.push(card.dataset.announce);
  announceSoon();
}

function onGone(event) {
  lastPosition = Math.max(lastPosition, Number(event.lastEventId));
  // After an erasure no id of the person is left, and the card is known by its match.
  const { match_id: matchId, profile_id: profileId } = JSON.parse(event.data);
  const card = document.getElementById(`card-${profileId}`) ?? cards.querySelector(`[data-match="${matchId}"]`);
  card?.remove();
}

function onJob(event) {
  const { html, waiting } = JSON.parse(event.data);
  // Why nobody is looked for is said in several places of the page; nothing may be on its way.
  if (waiting !== undefined && waiting !== cards.dataset.waiting && (document.getElementById("sending")?.hidden ?? true)) location.reload();
  const item = toElement(html);
  const old = document.getElementById(item.id);
  if (old?.textContent === item.textContent) return;
  old ? old.replaceWith(item) : jobs.prepend(item);
  if (item.dataset.announce) sentences.push(item.dataset.announce);
  announceSoon();
}

followFeed(
  () => `/feed/stream?after=${lastPosition}&show=${cards.dataset.show}&sort=${cards.dataset.sort}`,
  { match: onMatch, gone: onGone, job: onJob, new: (event) => markNew(JSON.parse(event.data).match_ids) },
  document.getElementById("live"),
);
