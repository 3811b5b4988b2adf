// Puts the buttons of "Which one is you?" over the faces, and sends the answer without leaving the
// page: the live feed then shows how the photo goes on. Without it, they stand below the photo.

const LOST = "That did not get through. Check your connection and tap again.";
const RELOAD_AFTER_MS = 3_000;

const jobs = document.getElementById("jobs");

function place(form) {
  if (form.classList.contains("is-placed")) return;
  form.classList.add("is-placed");
  for (const button of form.querySelectorAll("button")) {
    const [left, top, width, height] = ["left", "top", "width", "height"].map((side) => Number(button.dataset[side]));
    // By script and not in the markup, where the page allows no styles. By the middle: see app.css.
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
  const error = form.querySelector(".whose-error");
  if (form.ariaBusy === "true") return;
  form.ariaBusy = "true";
  error.hidden = true;
  button.classList.add("is-chosen");
  for (const one of buttons) one.setAttribute("aria-disabled", "true");
  const answer = await fetch(form.action, {
    method: "POST",
    headers: { Accept: "application/json" },
    body: new FormData(form, button),
  }).catch(() => null);
  if (answer?.status === 401) return location.assign("/sign-in");
  if (answer?.ok) {
    // The live feed replaces the question; where that is down, the page does when read again.
    setTimeout(() => form.isConnected && location.reload(), RELOAD_AFTER_MS);
    return;
  }
  const told = await answer?.json().catch(() => null);
  error.textContent = told?.error?.message ?? LOST;
  error.hidden = false;
  form.ariaBusy = "false";
  button.classList.remove("is-chosen");
  for (const one of buttons) one.removeAttribute("aria-disabled");
}

function placeAll() {
  for (const form of jobs.querySelectorAll(".whose")) place(form);
}

jobs.addEventListener("submit", (event) => {
  if (!event.target.classList.contains("whose")) return;
  event.preventDefault();
  send(event.target, event.submitter);
});
new MutationObserver(placeAll).observe(jobs, { childList: true });
placeAll();
