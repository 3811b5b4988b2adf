// The sheet in which a photo is chosen, and then turned and cropped before it is sent.

import { isCanvasTrue } from "./scale_photo.js";
import { text } from "./texts.js";

const part = (id) => document.getElementById(id);
const KEYS = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "+", "-"];

export const sheet = part("upload-sheet");

// Shows photos of a list one by one: `choose(files)`, `send(photo, take)`, `leave(photo)` and
// `close()` say what becomes of them, and `waiting()` returns those that are still to be shown.
export function makeSheet({ choose, send, leave, close, waiting }) {
  const stage = part("crop-stage");
  const empty = stage.firstElementChild;
  const button = part("send-photo");
  const inputs = [part("take-photo"), part("choose-photo")];
  const title = part("sheet-title");
  const firstTitle = title.textContent;
  let shown, editor;
  let total = 0;

  async function edit(image) {
    await image.decode();
    if (!isCanvasTrue() || !image.isConnected) return undefined;
    // Over a bad connection what turns and crops may not load; the photo is sent as it is then.
    const tools = await import("./crop_photo.js").then(({ editPhoto }) => editPhoto(image)).catch(() => undefined);
    if (!image.isConnected) return undefined;
    sheet.querySelector(".crop-tools").hidden = !tools;
    sheet.querySelector('[data-tool="square"]').setAttribute("aria-pressed", "false");
    return tools;
  }

  function endEditing() {
    editor?.then((tools) => tools?.end());
    editor = undefined;
    sheet.querySelector(".crop-tools").hidden = true;
    URL.revokeObjectURL(stage.querySelector("img").src);
    stage.replaceChildren(empty);
  }

  // Without a photo that waits it shows what to choose from.
  function showNext() {
    const left = waiting();
    if (left[0] && left[0] === shown) return;
    endEditing();
    [shown] = left;
    total = Math.max(total, left.length);
    part("sheet-choose").hidden = Boolean(shown);
    part("sheet-edit").hidden = !shown;
    title.textContent = shown && total > 1 ? text("upload.several", { number: total - left.length + 1, total }) : firstTitle;
    if (!shown) return;
    stage.hidden = false;
    part("not-drawn").hidden = true;
    // An element of its own, because nothing undoes a cropper that is still loading.
    const image = empty.cloneNode();
    image.src = URL.createObjectURL(shown.blob);
    stage.replaceChildren(image);
    editor = edit(image).catch(() => {
      // The server can decode more types than any browser.
      stage.hidden = true;
      part("not-drawn").hidden = false;
    });
    button.focus();
  }

  button.addEventListener("click", async () => {
    if (!shown || button.ariaDisabled === "true") return;
    button.setAttribute("aria-disabled", "true");
    const tools = await editor;
    const isFine = await send(shown, tools?.take);
    button.setAttribute("aria-disabled", "false");
    if (isFine && !waiting().length) sheet.close();
    else showNext();
  });
  sheet.querySelector("[data-leave]").addEventListener("click", async () => {
    await leave(shown);
    showNext();
  });
  sheet.querySelector("[data-close]").addEventListener("click", () => sheet.close());
  sheet.addEventListener("close", () => {
    // Whoever closes the sheet does not want what it shows.
    close();
    for (const input of inputs) input.value = "";
    total = 0;
    showNext();
  });
  sheet.addEventListener("click", async ({ target }) => {
    const tool = target.closest("[data-tool]");
    const tools = tool && (await editor);
    if (!tools) return;
    if (tool.dataset.tool === "turn") tools.turn();
    else if (tool.dataset.tool === "square") tool.setAttribute("aria-pressed", String(tools.square()));
    else tools.zoom(tool.dataset.tool === "in" ? 1 : -1);
  });
  stage.addEventListener("keydown", async (event) => {
    if (!KEYS.includes(event.key)) return;
    event.preventDefault();
    (await editor)?.press(event.key);
  });
  for (const input of inputs) input.addEventListener("change", () => input.files.length && choose([...input.files]));
  return function open() {
    if (!sheet.open) sheet.showModal();
    showNext();
  };
}
