// The page of a look-alike: one face over the other, and going on by key and swipe. Without it both faces stand side by side, and links lead on.

import "./new_count.js";

const SWIPE_PX = 60;

const compare = document.getElementById("compare");
const faces = document.getElementById("faces");
const tools = document.getElementById("compare-tools");
const cut = document.getElementById("cut");
const buttons = { false: document.getElementById("side-by-side"), true: document.getElementById("overlay") };
const back = document.getElementById("back");

function overlay(isOn) {
  compare.classList.toggle("is-overlay", isOn);
  for (const [name, button] of Object.entries(buttons)) button.setAttribute("aria-pressed", String(name === String(isOn)));
}

function moveCut(value) {
  cut.value = value;
  compare.style.setProperty("--cut", `${cut.value}%`);
}

function drag(event) {
  if (!compare.classList.contains("is-overlay") || !event.isPrimary || !event.buttons) return;
  const box = faces.getBoundingClientRect();
  moveCut(((event.clientX - box.left) / box.width) * 100);
}

// The browser's back leads to the feed, wherever in it one has gone on to.
const go = (id) => {
  const link = document.getElementById(id);
  if (link) location.replace(link.href);
};

function goBack() {
  const cameFromFeed = sessionStorage.getItem("feed") === back.getAttribute("href");
  if (cameFromFeed && history.length > 1) history.back();
  else location.assign(back.href);
}

function onKey(event) {
  if (event.altKey || event.ctrlKey || event.metaKey || event.defaultPrevented || event.target.closest("input, textarea, select, [open], dialog")) return;
  if (event.key === "ArrowLeft") go("previous");
  else if (event.key === "ArrowRight") go("next");
  else if (event.key === "Escape") goBack();
}

let touch;
function onTouchStart(event) {
  const inOverlay = compare.classList.contains("is-overlay") && compare.contains(event.target);
  touch = event.touches.length === 1 && !inOverlay && !event.target.closest("input, dialog") ? event.touches[0] : null;
}
function onTouchEnd(event) {
  if (!touch) return;
  const end = event.changedTouches[0];
  const [across, down] = [end.clientX - touch.clientX, end.clientY - touch.clientY];
  if (Math.abs(across) > SWIPE_PX && Math.abs(across) > 2 * Math.abs(down)) go(across > 0 ? "previous" : "next");
}

tools.hidden = false;
for (const [name, button] of Object.entries(buttons)) button.addEventListener("click", () => overlay(name === "true"));
cut.addEventListener("input", () => moveCut(cut.value));
faces.addEventListener("pointerdown", (event) => {
  drag(event);
  if (compare.classList.contains("is-overlay")) faces.setPointerCapture(event.pointerId);
});
faces.addEventListener("pointermove", drag);
document.addEventListener("keydown", onKey);
document.addEventListener("touchstart", onTouchStart, { passive: true });
document.addEventListener("touchend", onTouchEnd, { passive: true });
for (const id of ["previous", "next"]) {
  document.getElementById(id)?.addEventListener("click", (event) => {
    if (event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go(id);
  });
}
back.addEventListener("click", (event) => {
  if (event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  goBack();
});
