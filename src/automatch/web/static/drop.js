// A photo that is dropped anywhere on a page is sent; on every page, for whoever is signed in.

import { forgetAll, keep, listKept, person } from "./kept_photos.js";
import { forgetActs, list as listActs } from "./outbox.js";
import { text } from "./texts.js";

const ERASING = 'form[action="/sign-out"], form[action="/account/delete/confirm"], form[action="/consent/withdraw"]';

const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
const show = (isOver) => document.body.classList.toggle("is-over", isOver);

async function take(files) {
  // Where photos can be added, the sheet's script takes them.
  if (document.getElementById("upload-sheet")) {
    document.dispatchEvent(new CustomEvent("photosdropped", { detail: files }));
    return;
  }
  for (const file of files) await keep({ blob: file, wanted: true });
  if ("uploads" in document.body.dataset) return location.assign("/photos");
  const notice = Object.assign(document.createElement("p"), { className: "notice good", textContent: text("later") });
  notice.setAttribute("role", "status");
  document.getElementById("main").prepend(notice);
  notice.scrollIntoView({ block: "nearest" });
}

async function eraseThenSubmit(event) {
  if (!event.target.matches(ERASING)) return;
  event.preventDefault();
  await Promise.all([forgetAll(), forgetActs()]);
  event.target.submit();
}

listKept();
listActs();
if (person) {
  document.addEventListener("submit", eraseThenSubmit);
  document.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    show(true);
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget || show(false));
  document.addEventListener("drop", (event) => {
    show(false);
    const files = [...(event.dataTransfer?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    take(files);
  });
}
