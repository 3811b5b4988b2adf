// Photos that are chosen, dropped or pasted are sent one after the other while the page goes on.
// Without it the browser submits a form.

import { expectNews } from "./feed_stream.js";
import { forget, isKept, keep, listKept } from "./kept_photos.js";
import { makeSheet, sheet } from "./photo_sheet.js";
import { scaleDown } from "./scale_photo.js";
import { isFull, sendPhoto } from "./send_photo.js";
import { text } from "./texts.js";

if (sheet) enhance();

function enhance() {
  const part = (id) => document.getElementById(id);
  const maxMb = Number(sheet.dataset.maxMb);
  const maxSide = Number(sheet.dataset.maxSide);
  const percents = new Intl.NumberFormat(document.documentElement.lang, { style: "percent" });
  // Each is {blob, wanted, id}; those that are not wanted yet wait in the sheet.
  let photos = [];
  let sending = false;
  const problems = new Set();
  const waiting = () => photos.filter((photo) => !photo.wanted);

  if (part("upload-form")) part("upload-form").hidden = true;

  function show(id, isShown) {
    part(id).hidden = !isShown;
    part("upload-bar").hidden = !["sending", "sent", "file-error", "kept"].some((each) => !part(each).hidden);
  }

  function say(id, words) {
    part(id).textContent = words;
    show(id, Boolean(words));
  }

  // In the sheet while it is open, which lies over everything else.
  function fail(words) {
    problems.add(words);
    say(sheet.open ? "sheet-error" : "file-error", [...problems].join(" "));
  }

  function clearWords() {
    problems.clear();
    for (const id of ["sheet-error", "file-error", "sent"]) say(id, "");
  }

  async function drop(photo) {
    photos = photos.filter((other) => other !== photo);
    await forget(photo);
  }

  // Makes a photo as it is sent; returns whether it can be.
  async function makeReady(photo, take = () => null) {
    photo.blob = (await take(maxSide)) ?? (await scaleDown(photo.blob, maxSide).catch(() => null));
    if (photo.blob && photo.blob.size <= maxMb * 1024 ** 2) return true;
    fail(photo.blob ? text("upload.large", { mb: maxMb }) : text("upload.unreadable"));
    await drop(photo);
    return false;
  }

  async function add(files, { wanted }) {
    clearWords();
    for (const file of files) {
      // A copy, because a phone may move or delete the file before it is sent.
      const blob = await file.arrayBuffer().then((bytes) => new Blob([bytes]), () => null);
      const photo = { blob, wanted };
      if (!blob?.size) fail(text(blob ? "upload.empty" : "upload.unreadable"));
      else if (!wanted || (await makeReady(photo))) {
        photos.push(photo);
        await keep(photo);
      }
    }
    if (wanted) sendWanted();
    else if (waiting().length || problems.size) open();
  }

  function showProgress(words, percent) {
    if (percent !== undefined) part("progress").value = percent;
    part("progress-text").textContent = words;
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
      const waits = isFull(body) && photo.id !== undefined;
      fail(waits ? text("upload.full_kept") : (error?.message ?? text("upload.lost")));
      return false;
    }
    drop(photo);
    if (!face || job.status === "failed") {
      fail(message ?? error?.message ?? text("upload.lost"));
      return true;
    }
    // The answer to an earlier try may have been lost, and the server says that it has the photo.
    say("sent", isFirst ? message : text("upload.sent"));
    const isShown = () => {
      const shown = Boolean(part(`photo-${face.id}`));
      if (shown) say("sent", "");
      return shown;
    };
    expectNews(isShown, () => !photos.length);
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
      const onPercent = (percent) => {
        const name = percent === 100 ? "upload.checking" : total > 1 ? "upload.sending_several" : "upload.sending";
        showProgress(text(name, { number, total, percent: percents.format(percent / 100) }), percent);
      };
      onPercent(0);
      if (!finish(photo, await sendPhoto(sheet.dataset.action, photo.blob, { onPercent, onState: showProgress }))) return;
    }
  }

  async function sendWanted() {
    if (sending || !photos.some((photo) => photo.wanted)) return;
    sending = true;
    show("sending", true);
    await (navigator.locks?.request("automatch-upload", sendAll) ?? sendAll());
    sending = false;
    show("sending", false);
    show("kept", !sheet.open && waiting().length);
  }

  const open = makeSheet({
    choose: (files) => add(files, { wanted: false }),
    async send(photo, take) {
      clearWords();
      if (!(await makeReady(photo, take))) return false;
      photo.wanted = true;
      await keep(photo);
      sendWanted();
      return true;
    },
    leave: drop,
    close: () => waiting().forEach(drop),
    waiting,
  });

  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-add-photo]")) return;
    event.preventDefault();
    show("kept", false);
    open();
  });
  document.addEventListener("photosdropped", (event) => add(event.detail, { wanted: true }));
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    add(files, { wanted: false });
  });
  window.addEventListener("online", sendWanted);
  listKept().then((kept) => {
    photos.push(...kept);
    show("kept", waiting().length);
    sendWanted();
  });
}
