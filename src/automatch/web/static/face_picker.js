// Places the buttons of "Which one is you?" over the faces, and sends the answer without leaving the
// page; the live feed then shows the new state. Without it, the buttons are below the photo.

import { expectNews } from "./feed_stream.js";

const jobs = document.getElementById("jobs");

function place(form) {
  if (form.classList.contains("is-placed")) return;
  form.classList.add("is-placed");
  for (const button of form.querySelectorAll("button")) {
    const [left, top, width, height] = ["left", "top", "width", "height"].map((side) => Number(button.dataset[side]));
    // By script, because the page allows no inline styles. By the centre: see app.css.
    Object.assign(button.style, {
      left: `${left + width / 2}%`,
      top: `${top + height / 2}%`,
      width: `${width}%`,
      height: `${height}%`,
    });
  }
}

async function send(form, button) {
  const buttons = form.querySelectorAll("button");
  const error = form.querySelector(".face-picker-error");
  if (form.ariaBusy === "true") return;
  form.ariaBusy = "true";
  error.hidden = true;
  button.classList.add("is-chosen");
  for (const other of buttons) other.setAttribute("aria-disabled", "true");
  const answer = await fetch(form.action, {
    method: "POST",
    headers: { Accept: "application/json" },
    body: new FormData(form, button),
  }).catch(() => null);
  if (answer?.status === 401) return location.assign("/sign-in");
  if (answer?.ok) {
    form.querySelector(".face-picker-done").hidden = false;
    // The live feed replaces the question.
    expectNews(() => !form.isConnected);
    return;
  }
  const body = await answer?.json().catch(() => null);
  error.textContent = body?.error?.message ?? error.dataset.lost;
  error.hidden = false;
  form.ariaBusy = "false";
  button.classList.remove("is-chosen");
  for (const other of buttons) other.removeAttribute("aria-disabled");
}

function placeAll() {
  for (const form of jobs.querySelectorAll(".face-picker")) place(form);
}

jobs.addEventListener("submit", (event) => {
  if (!event.target.classList.contains("face-picker")) return;
  event.preventDefault();
  send(event.target, event.submitter);
});
new MutationObserver(placeAll).observe(jobs, { childList: true });
placeAll();
