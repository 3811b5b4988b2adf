// Like, hide, block and report without leaving the page; each can be undone in the toast. Without it the forms do.

import { send, toast } from "./toast.js";

const card = (element) => element.closest("li.card");

// The usual time of a double click. Whoever taps twice, or holds a key down, means one act.
const DOUBLE_TAP_MS = 500;
const tapped = new Map();

function isDoubleTap(person) {
  const now = performance.now();
  const isDouble = now - tapped.get(person) < DOUBLE_TAP_MS;
  tapped.set(person, now);
  return isDouble;
}

// By person: the last act that is on its way, and whether the server has them liked.
const underWay = new Map();

// Sends one after the other: two quick clicks must not overtake each other. Returns the answer to the last.
async function change(form, liked, address, body) {
  const { person } = form.closest("[data-person]").dataset;
  const state = underWay.get(person) ?? { liked: !liked, turn: Promise.resolve() };
  underWay.set(person, state);
  paint(form, liked);
  const turn = (state.turn = state.turn.then(() => send(address, body)).catch(() => undefined));
  const answer = await turn;
  if (answer) state.liked = liked;
  if (state.turn !== turn) return undefined;
  underWay.delete(person);
  paint(form, state.liked);
  return answer;
}

async function like(form) {
  const { person } = form.closest("[data-person]").dataset;
  if (isDoubleTap(person)) return;
  const liked = form.querySelector("button").getAttribute("aria-pressed") !== "true";
  const answer = await change(form, liked, form.action, new FormData(form));
  if (!answer) return;
  toast(answer.message, answer.undo, () => {
    tapped.delete(person);
    change(form, !liked, answer.undo);
  });
}

// What both share comes with the card, by the stream; the address is of the next act.
function paint(form, liked) {
  const person = form.closest("[data-person]").dataset.person;
  // The stream may have replaced the card meanwhile.
  for (const each of document.querySelectorAll(`[data-person="${person}"] form[data-act="like"]`)) {
    each.querySelector("button").setAttribute("aria-pressed", String(liked));
    each.action = `/people/${person}/${liked ? "unlike" : "like"}`;
  }
}

function tellHidden(answer, item) {
  const list = item.parentElement;
  const next = item.nextElementSibling;
  const neighbour = next ?? item.previousElementSibling;
  item.hidden = true;
  neighbour?.querySelector("a, button")?.focus();
  toast(answer.message, answer.undo, async () => {
    if (!(await send(answer.undo))) return;
    // The stream removed the card, and may have brought it back already, on top.
    const back = document.getElementById(item.id) ?? item;
    back.hidden = false;
    list.insertBefore(back, next?.parentElement === list ? next : null);
    back.querySelector("a, button")?.focus();
  });
}

async function hide(form, item) {
  form.closest("details").open = false;
  item.hidden = true;
  const answer = await send(form.action, new FormData(form));
  item.hidden = false;
  if (answer) tellHidden(answer, item);
}

async function report(link, item) {
  link.closest("details").open = false;
  const page = await fetch(link.href).then((response) => response.text()).catch(() => "");
  const form = new DOMParser().parseFromString(page, "text/html").querySelector("main form");
  if (!form) return location.assign(link.href);
  const dialog = document.createElement("dialog");
  dialog.className = "dialog";
  dialog.setAttribute("aria-label", link.textContent);
  form.classList.remove("panel");
  dialog.append(form);
  document.body.append(dialog);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  const wrong = document.createElement("p");
  wrong.className = "field-error";
  wrong.role = "alert";
  form.append(wrong);
  form.addEventListener("submit", async (event) => {
    // The form leads on to the next one, as those of the menu do.
    if (!item) return;
    event.preventDefault();
    event.stopPropagation();
    const answer = await send(form.action, new FormData(form), (message) => (wrong.textContent = message));
    if (!answer) return;
    dialog.close();
    tellHidden(answer, item);
  });
  dialog.showModal();
}

// Where there is no card to take away, as on the page of a match, the forms lead on to the next one.
document.addEventListener("submit", (event) => {
  const { act } = event.target.dataset;
  if (act === "like") {
    event.preventDefault();
    like(event.target);
  } else if (act === "hide" && card(event.target)) {
    event.preventDefault();
    hide(event.target, card(event.target));
  }
});
document.addEventListener("click", (event) => {
  const link = event.target.closest?.('a[data-act="report"]');
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  report(link, card(link));
});
