// A line about what was just done, with Undo for ten seconds. Pauses while somebody is at it; Escape closes it.

import { flush, isWaiting, keep, post, takeBack } from "./outbox.js";

const SHOWN_MS = 10_000;

const toasts = document.getElementById("toasts");
const blank = toasts?.querySelector("template").content.firstElementChild;
let current;

function watch(element, onUndo) {
  current?.close();
  const before = document.activeElement;
  let timer;
  const close = () => {
    clearTimeout(timer);
    const hadFocus = element.contains(document.activeElement);
    element.remove();
    if (hadFocus && before?.isConnected) before.focus();
    if (current?.element === element) current = undefined;
  };
  const rest = () => clearTimeout(timer);
  const go = () => {
    clearTimeout(timer);
    if (!element.matches(":hover, :focus-within")) timer = setTimeout(close, SHOWN_MS);
  };
  element.addEventListener("pointerenter", rest);
  element.addEventListener("pointerleave", go);
  element.addEventListener("focusin", rest);
  // By then the next element has the focus.
  element.addEventListener("focusout", () => setTimeout(go));
  const button = element.querySelector(".toast-close");
  button.hidden = false;
  button.addEventListener("click", close);
  if (onUndo) {
    element.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      close();
      onUndo();
    });
  }
  current = { element, close };
  go();
}

// onUndo replaces the form's way, which leaves the page.
export function toast(message, undo, onUndo) {
  const element = blank.cloneNode(true);
  element.querySelector("p").textContent = message;
  const form = element.querySelector("form");
  form.hidden = !undo;
  if (undo) form.action = undo;
  toasts.append(element);
  watch(element, undo ? onUndo : undefined);
  return element;
}

async function later(action, body, tell) {
  const undo = await keep(action, body);
  if (undo) return { message: toasts.dataset.later, undo };
  tell(toasts.dataset.lost);
  return undefined;
}

// Sends a form for JSON, or keeps it until there is a connection; tells what went wrong and returns nothing then.
export async function send(action, body, tell = toast) {
  if (action.startsWith("outbox:")) {
    const undo = await takeBack(action);
    return undo ? send(undo, undefined, tell) : {};
  }
  if (document.getElementById("live")?.dataset.state === "offline") return later(action, body, tell);
  // Behind what waits: to take a like back must not come before the like.
  if (await isWaiting()) {
    const answer = await later(action, body, tell);
    flush();
    return answer;
  }
  let response;
  try {
    response = await post(action, body);
  } catch {
    return later(action, body, tell);
  }
  try {
    const answer = await response.json();
    if (response.ok) return answer;
    tell(answer.error.message);
  } catch {
    tell(toasts.dataset.lost);
  }
  return undefined;
}

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !current || document.querySelector("dialog[open], details.menu[open]")) return;
  current.close();
});

const shown = toasts?.querySelector(":scope > .toast");
if (shown) watch(shown);
