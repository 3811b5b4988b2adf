// Updates the feed live. Without it the page works, and a reload shows the same.

import { markNew, putCard, whenReleased } from "./cards.js";
import { followFeed } from "./feed_stream.js";
import { text } from "./texts.js";

const ANNOUNCE_AFTER_MS = 1_000;
const REFRESH_AFTER_MS = 200;
// After a restart of the server all pages come back at once.
const SPREAD_MS = 1_500;

const cards = document.getElementById("cards");
const jobs = document.getElementById("jobs");
const announcer = document.getElementById("announcer");

const empty = document.getElementById("empty");
const isFiltered = cards.dataset.show !== "all";

let lastPosition = Number(cards.dataset.lastPosition);
let announcing, refreshing;

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
  whenReleased(() => {
    if (!putCard(card, profileId)) return;
    const { announce } = card.dataset;
    const likes = card.querySelector(".shared strong");
    if (likes) sentences.push(`${likes.textContent} ${announce}`);
    else matchLabels.push(announce);
    announceSoon();
  });
}

const isEmpty = () => !cards.childElementCount;

// Why the feed is empty is decided by the server; nothing may be on its way when the page is loaded anew.
async function refreshEmpty() {
  refreshing = undefined;
  const answer = await fetch("/feed/state", { headers: { Accept: "application/json" } }).catch(() => null);
  if (!answer?.ok) return;
  const { waiting, html } = await answer.json();
  if (waiting !== cards.dataset.waiting && (document.getElementById("sending")?.hidden ?? true)) location.reload();
  else if (!isFiltered) empty.innerHTML = html;
}

function refreshSoon(afterMs = REFRESH_AFTER_MS) {
  if (isEmpty()) refreshing ??= setTimeout(refreshEmpty, afterMs);
}

function onGone(event) {
  lastPosition = Math.max(lastPosition, Number(event.lastEventId));
  // After an erasure no id of the person is left, and the card is known by its match.
  const { match_id: matchId, profile_id: profileId } = JSON.parse(event.data);
  whenReleased(() => {
    const card = document.getElementById(`card-${profileId}`) ?? cards.querySelector(`[data-match="${matchId}"]`);
    card?.remove();
    refreshSoon();
  });
}

function onJob(event) {
  const { html } = JSON.parse(event.data);
  refreshSoon();
  const item = toElement(html);
  const old = document.getElementById(item.id);
  if (old?.textContent === item.textContent) return;
  old ? old.replaceWith(item) : jobs.prepend(item);
  if (item.dataset.announce) sentences.push(item.dataset.announce);
  announceSoon();
}

// The first event of a connection, unless a photo or a card has changed meanwhile.
function onNew(event) {
  markNew(JSON.parse(event.data).match_ids);
  refreshSoon(Math.random() * SPREAD_MS);
}

followFeed(
  () => `/feed/stream?after=${lastPosition}&show=${cards.dataset.show}&sort=${cards.dataset.sort}`,
  { match: onMatch, gone: onGone, job: onJob, state: () => refreshSoon(Math.random() * SPREAD_MS), new: onNew },
  document.getElementById("live"),
);
