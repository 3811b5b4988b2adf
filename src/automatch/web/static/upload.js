// Drop, paste, preview and progress. Without it the browser submits the form.

const RELOAD_AFTER_MS = 3_000;
const LOST = "The photo was not sent. Check your connection and try again.";

const form = document.getElementById("upload-form");
if (form) enhance(form);

function enhance(form) {
  const input = form.elements.file;
  const button = form.querySelector("button");
  const part = (id) => document.getElementById(id);
  const maxMb = Number(form.dataset.maxMb);
  let sending = false;

  part("drop-hint").hidden = false;
  part("preview").addEventListener("error", () => (part("preview").hidden = true));

  function say(id, text) {
    for (const other of ["file-error", "sent"]) part(other).hidden = other !== id;
    if (id) part(id).textContent = text;
    input.setAttribute("aria-invalid", String(id === "file-error"));
  }

  function reasonAgainst(file) {
    if (file.size === 0) return "The file is empty; choose the photo again.";
    if (file.size > maxMb * 1024 ** 2) return `The photo is larger than ${maxMb} MB; choose a smaller one.`;
    if (file.type && !input.accept.split(",").includes(file.type)) {
      return "This is not a photo of a supported type; choose a JPEG, PNG, WebP, HEIC or AVIF.";
    }
    return null;
  }

  function showChosen() {
    const [file] = input.files;
    const problem = file && reasonAgainst(file);
    const preview = part("preview");
    URL.revokeObjectURL(preview.src);
    preview.hidden = !file || Boolean(problem);
    if (preview.hidden) preview.removeAttribute("src");
    else preview.src = URL.createObjectURL(file);
    say(problem ? "file-error" : null, problem);
  }

  function take(event, files) {
    if (!files?.length) return;
    event.preventDefault();
    if (sending) return;
    input.files = files;
    showChosen();
  }

  function setSending(now) {
    sending = now;
    part("sending").hidden = !now;
    button.setAttribute("aria-disabled", String(now));
  }

  function showProgress({ loaded, total, lengthComputable }) {
    if (!lengthComputable) return;
    const percent = Math.round((100 * loaded) / total);
    part("progress").value = percent;
    part("progress-text").textContent = percent < 100 ? `Sending, ${percent}%` : "Sent, checking it";
  }

  function finish(request) {
    setSending(false);
    if (request.status === 401) return location.assign("/sign-in");
    const { face, job, message, error } = request.response ?? {};
    if (!face) return say("file-error", error?.message ?? LOST);
    form.reset();
    showChosen();
    if (job.status === "failed") return say("file-error", message);
    say("sent", message);
    // The live feed shows the job; if it is not connected, a reload does.
    setTimeout(() => (part(`photo-${face.id}`) ? (part("sent").hidden = true) : location.reload()), RELOAD_AFTER_MS);
  }

  function send() {
    const request = new XMLHttpRequest();
    request.open("POST", form.action);
    request.setRequestHeader("Accept", "application/json");
    request.responseType = "json";
    request.upload.addEventListener("progress", showProgress);
    request.addEventListener("loadend", () => finish(request));
    showProgress({ loaded: 0, total: 1, lengthComputable: true });
    setSending(true);
    say(null);
    request.send(new FormData(form));
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (sending) return;
    const problem = reasonAgainst(input.files[0]);
    if (problem) say("file-error", problem);
    else send();
  });
  input.addEventListener("change", showChosen);
  document.addEventListener("paste", (event) => take(event, event.clipboardData?.files));
  document.addEventListener("drop", (event) => {
    form.classList.remove("is-over");
    take(event, event.dataTransfer.files);
  });
  document.addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    form.classList.add("is-over");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) form.classList.remove("is-over");
  });
}
