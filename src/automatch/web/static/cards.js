// The cards of the feed: where one goes that arrives, and which of them its person has seen.

import { showNewCount } from "./new_count.js";

const SEEN_AFTER_MS = 700;
const SEND_AFTER_MS = 800;
// The click of a finger comes after it has left the screen; a press of which no end is told is over some day.
const CLICK_MS = 300;
const LONGEST_PRESS_MS = 5_000;

const cards = document.getElementById("cards");
const seenHere = new Set();
const unsent = new Set();
const waiting = new Map();
const held = [];
let sending, releasing;

const difference = (one, other, name) => Number(one.dataset[name]) - Number(other.dataset[name]);
const isBefore = (one, other) => ((cards.dataset.sort === "best" && difference(one, other, "similarity")) || difference(one, other, "place")) > 0;

/** Does what changes the cards, once nobody presses one: a click is lost whose button goes from under it. */
export function whenReleased(work) {
  releasing ? held.push(work) : work();
}

function release() {
  releasing = undefined;
  for (const work of held.splice(0)) work();
}

function releaseIn(ms) {
  clearTimeout(releasing);
  releasing = setTimeout(release, ms);
}

/** Puts a card where the order of the page has it, unless a filter or a later page has it; returns whether it is news. */
export function putCard(card, profileId) {
  const old = document.getElementById(`card-${profileId}`);
  const hadFocus = old?.contains(document.activeElement);
  const wasOpen = Boolean(old?.querySelector("details[open]"));
  const isNews = card.classList.contains("is-new") && old?.dataset.place !== card.dataset.place;
  old?.remove();
  const { show } = cards.dataset;
  if ((show === "new" && !card.classList.contains("is-new")) || (show === "liked" && !("liked" in card.dataset))) return isNews;
  const after = [...cards.children].find((other) => isBefore(card, other));
  if (!after && cards.children.length && "more" in cards.dataset) return isNews;
  cards.insertBefore(card, after ?? null);
  card.querySelector("details").open = wasOpen;
  if (hadFocus) card.querySelector(wasOpen ? "summary" : ".card-link").focus();
  watch(card);
  return isNews;
}

/** Says which matches are new; those that were seen on another device lose their mark. */
export function markNew(matchIds) {
  showNewCount(matchIds.length);
  const left = new Set(matchIds);
  for (const card of cards.querySelectorAll(".is-new")) {
    const { match } = card.dataset;
    if (left.has(match) || seenHere.has(match)) continue;
    card.classList.remove("is-new");
    card.querySelector(".new-mark")?.remove();
  }
}

async function send() {
  sending = undefined;
  const matches = [...unsent];
  unsent.clear();
  const body = new URLSearchParams(matches.map((match) => ["match", match]));
  const answer = await fetch("/feed/seen", { method: "POST", headers: { Accept: "application/json" }, body, keepalive: true }).catch(() => null);
  if (answer?.ok) return showNewCount((await answer.json()).new);
  // Offline, or the server is away: told with the next ones.
  for (const match of matches) unsent.add(match);
}

function note(card) {
  seenHere.add(card.dataset.match);
  unsent.add(card.dataset.match);
  observer.unobserve(card);
  sending ??= setTimeout(send, SEND_AFTER_MS);
}

// A card that only passes by while somebody scrolls was not seen.
const observer = new IntersectionObserver(
  (changes) => {
    for (const { target, isIntersecting } of changes) {
      clearTimeout(waiting.get(target));
      waiting.delete(target);
      if (isIntersecting && !document.hidden) waiting.set(target, setTimeout(note, SEEN_AFTER_MS, target));
    }
  },
  { threshold: 0.6 },
);

function watch(card) {
  if (card.classList.contains("is-new") && !seenHere.has(card.dataset.match)) observer.observe(card);
}

function watchAll() {
  observer.disconnect();
  for (const timer of waiting.values()) clearTimeout(timer);
  if (!document.hidden) for (const card of cards.children) watch(card);
}

cards.addEventListener("pointerdown", (event) => event.button || releaseIn(LONGEST_PRESS_MS));
for (const end of ["pointerup", "pointercancel"]) window.addEventListener(end, () => releasing && releaseIn(CLICK_MS));
document.addEventListener("visibilitychange", watchAll);
window.addEventListener("online", () => unsent.size && send());
window.addEventListener("pagehide", () => {
  if (unsent.size) navigator.sendBeacon("/feed/seen", new URLSearchParams([...unsent].map((match) => ["match", match])));
});
cards.addEventListener("click", (event) => {
  if (event.target.closest(".card-link")) sessionStorage.setItem("feed", location.pathname + location.search);
});
watchAll();
