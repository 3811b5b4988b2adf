// Preview, progress, several photos one after the other. Without it the browser submits the form.

import { forget, isKept, keep, listKept } from "./kept_photos.js";
import { scaleDown } from "./scale_photo.js";
import { sendPhoto } from "./send_photo.js";

const RELOAD_AFTER_MS = 3_000;
const LOST = "The photo was not sent. Check your connection and try again.";
const SENT = "Your photo was sent.";
const UNREADABLE = "The photo could not be read; choose it again.";
const KEPT = "We kept the photo you chose. Send it when you're ready.";

const form = document.getElementById("upload-form");
if (form) enhance(form);

function enhance(form) {
  const input = form.elements.file;
  const button = form.querySelector("button");
  const part = (id) => document.getElementById(id);
  const maxMb = Number(form.dataset.maxMb);
  const maxSide = Number(form.dataset.maxSide);
  // Each is {blob, wanted, id}.
  let photos = [];
  let sending = false;
  const problems = new Set();
  // Photos are scaled one by one: each may take the memory of 50 megapixels.
  let preparing = Promise.resolve();

  form.noValidate = true;
  input.multiple = true;
  part("drop-hint").hidden = false;
  part("preview").addEventListener("error", () => (part("preview").hidden = true));

  function say(id, text) {
    part(id).textContent = text;
    part(id).hidden = !text;
    if (id === "file-error") input.setAttribute("aria-invalid", String(Boolean(text)));
  }

  function showChosen(hint = "") {
    const preview = part("preview");
    URL.revokeObjectURL(preview.src);
    preview.hidden = !photos.length;
    if (photos.length) preview.src = URL.createObjectURL(photos[0].blob);
    else preview.removeAttribute("src");
    say("chosen", photos.length > 1 ? `${photos.length} photos` : hint);
  }

  function fail(text) {
    problems.add(text);
    say("file-error", [...problems].join(" "));
  }

  function clearWords() {
    problems.clear();
    for (const id of ["file-error", "sent"]) say(id, "");
  }

  function reasonAgainst(blob) {
    if (!blob) return UNREADABLE;
    if (!blob.size) return "The file is empty; choose the photo again.";
    if (blob.size > maxMb * 1024 ** 2) return `The photo is larger than ${maxMb} MB; choose a smaller one.`;
    return null;
  }

  async function prepare(photo) {
    photo.blob = await scaleDown(photo.blob, maxSide).catch(() => null);
    const reason = reasonAgainst(photo.blob);
    if (reason) {
      fail(reason);
      return forget(photo);
    }
    photos.push(photo);
    return keep(photo);
  }

  function add(files, { wanted, replace }) {
    clearWords();
    preparing = preparing.then(async () => {
      if (replace && !sending) for (const photo of photos.splice(0)) await forget(photo);
      for (const blob of files) await prepare({ blob, wanted });
      showChosen();
      if (wanted) sendWanted();
    });
  }

  function showProgress(text, percent) {
    if (percent !== undefined) part("progress").value = percent;
    part("progress-text").textContent = text;
  }

  // Returns whether to go on with the next photo.
  function finish(photo, { status, body, isPassing, isFirst }) {
    const { face, job, message, error } = body;
    if (status === 401) {
      location.assign("/sign-in?done=ended");
      return false;
    }
    if (isPassing) {
      // One that was told to wait for long is sent when the person asks again.
      if (status === 429) keep(Object.assign(photo, { wanted: false }));
      fail(error?.message ?? LOST);
      return false;
    }
    photos = photos.filter((other) => other !== photo);
    forget(photo);
    if (!face || job.status === "failed") {
      fail(message ?? error?.message ?? LOST);
      return true;
    }
    // The answer to an earlier try may have been lost, and the server says that it has the photo.
    say("sent", isFirst ? message : SENT);
    // The live feed shows the job; if it is not connected, a reload does.
    setTimeout(() => {
      if (part(`photo-${face.id}`)) say("sent", "");
      else if (!photos.length) location.reload();
    }, RELOAD_AFTER_MS);
    return true;
  }

  async function sendAll() {
    for (let number = 1, photo; (photo = photos.find((each) => each.wanted)); number += 1) {
      // Another tab may have sent it.
      if (!(await isKept(photo))) {
        photos = photos.filter((other) => other !== photo);
        continue;
      }
      const total = number - 1 + photos.filter((each) => each.wanted).length;
      const what = total > 1 ? `photo ${number} of ${total}, ` : "";
      const onPercent = (percent) => showProgress(percent < 100 ? `Sending ${what}${percent}%` : "Sent, checking it", percent);
      onPercent(0);
      if (!finish(photo, await sendPhoto(form.action, photo.blob, { onPercent, onState: showProgress }))) return;
    }
  }

  async function sendWanted() {
    if (sending || !photos.some((photo) => photo.wanted)) return;
    sending = true;
    part("sending").hidden = false;
    button.setAttribute("aria-disabled", "true");
    await (navigator.locks?.request("automatch-upload", sendAll) ?? sendAll());
    sending = false;
    part("sending").hidden = true;
    button.setAttribute("aria-disabled", "false");
    if (!photos.length) form.reset();
    showChosen();
  }

  async function restore() {
    for (const photo of await listKept()) await prepare(photo);
    if (!photos.length) return;
    showChosen(KEPT);
    sendWanted();
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    await preparing;
    if (sending) return;
    if (!photos.length) return say("file-error", [...problems].join(" ") || "Choose a photo first.");
    clearWords();
    for (const photo of photos) {
      photo.wanted = true;
      await keep(photo);
    }
    sendWanted();
  });
  const takeChosen = () => add([...input.files], { wanted: false, replace: true });
  input.addEventListener("change", takeChosen);
  document.addEventListener("photosdropped", (event) => add(event.detail, { wanted: true, replace: false }));
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    add(files, { wanted: false, replace: true });
  });
  window.addEventListener("online", sendWanted);
  preparing = restore();
  // Chosen before this script was loaded.
  if (input.files.length) takeChosen();
}
