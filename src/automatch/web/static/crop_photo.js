// A photo in the sheet that its owner turns and crops: with fingers, a mouse, the keyboard or buttons.

import "./vendor/cropper.min.js";

const STEP_PX = 12;
const ZOOM = 0.15;
const NEAR = 2;
const JPEG_QUALITY = 0.92;
const KEYS = { ArrowLeft: [-STEP_PX, 0], ArrowRight: [STEP_PX, 0], ArrowUp: [0, -STEP_PX], ArrowDown: [0, STEP_PX] };

const style = document.createElement("link");
style.rel = "stylesheet";
style.href = new URL("./vendor/cropper.min.css", import.meta.url);
const styled = new Promise((resolve, reject) => {
  style.addEventListener("load", resolve, { once: true });
  style.addEventListener("error", reject, { once: true });
});
document.head.append(style);

// Shows the photo of an image element whole, as it is turned now.
function fit(cropper, isSquare) {
  cropper.clear();
  const frame = cropper.getContainerData();
  const photo = cropper.getCanvasData();
  const scale = Math.min(frame.width / photo.width, frame.height / photo.height);
  const [width, height] = [photo.width * scale, photo.height * scale];
  cropper.setCanvasData({ left: (frame.width - width) / 2, top: (frame.height - height) / 2, width });
  cropper.crop();
  if (!isSquare) cropper.setCropBoxData({ left: (frame.width - width) / 2, top: (frame.height - height) / 2, width, height });
}

function isWhole(cropper) {
  const { x, y, width, height, rotate } = cropper.getData();
  const { naturalWidth, naturalHeight } = cropper.getImageData();
  return !(rotate % 360) && Math.max(x, y, naturalWidth - x - width, naturalHeight - y - height) <= NEAR;
}

// Returns what the buttons and keys do, and `take(maxSide)`: the part that was chosen as a JPEG, or
// null where it is the whole photo.
export async function editPhoto(image) {
  await styled;
  let isSquare = false;
  const cropper = await new Promise((resolve) => {
    const made = new Cropper(image, {
      viewMode: 1,
      dragMode: "move",
      autoCropArea: 1,
      background: false,
      // Its own way reads the file by an address that the policy of the page forbids; browsers turn photos.
      checkOrientation: false,
      toggleDragModeOnDblclick: false,
      minCropBoxWidth: 80,
      minCropBoxHeight: 80,
      ready: () => resolve(made),
    });
  });
  return {
    turn() {
      cropper.clear();
      cropper.rotate(90);
      fit(cropper, isSquare);
    },
    zoom: (direction) => cropper.zoom(direction * ZOOM),
    square() {
      isSquare = !isSquare;
      cropper.setAspectRatio(isSquare ? 1 : NaN);
      fit(cropper, isSquare);
      return isSquare;
    },
    press(key) {
      if (KEYS[key]) cropper.move(...KEYS[key]);
      else if (key === "+" || key === "-") cropper.zoom(key === "+" ? ZOOM : -ZOOM);
      else return false;
      return true;
    },
    take(maxSide) {
      if (isWhole(cropper)) return null;
      const canvas = cropper.getCroppedCanvas({ maxWidth: maxSide, maxHeight: maxSide, fillColor: "#fff", imageSmoothingQuality: "high" });
      return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", JPEG_QUALITY));
    },
    end: () => cropper.destroy(),
  };
}
