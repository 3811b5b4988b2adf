// Makes a large photo as small as the server would make it, so that a slow phone gets it through.

const SMALL_BYTES = 500_000;
const JPEG_QUALITY = 0.92;

// Some browsers give a page false pixels, so that it cannot recognise the device.
export function isCanvasTrue() {
  const context = document.createElement("canvas").getContext("2d");
  context.fillStyle = "#336699";
  context.fillRect(0, 0, 8, 8);
  const { data } = context.getImageData(0, 0, 8, 8);
  return data.every((value, index) => value === [0x33, 0x66, 0x99, 0xff][index % 4]);
}

async function encode(image, scale) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(image.naturalWidth * scale);
  canvas.height = Math.round(image.naturalHeight * scale);
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", JPEG_QUALITY));
}

// Returns a photo upright and at most `maxSide` long; the file as it is where it is small already, or
// where the browser cannot decode it. Rejects a file that cannot be read.
export async function scaleDown(file, maxSide) {
  if (file.size > SMALL_BYTES) {
    const image = new Image();
    image.src = URL.createObjectURL(file);
    try {
      // An image element obeys the orientation in EXIF.
      await image.decode();
      const scale = maxSide / Math.max(image.naturalWidth, image.naturalHeight);
      const scaled = scale < 1 && isCanvasTrue() && (await encode(image, scale));
      if (scaled && scaled.size < file.size) return scaled;
    } catch {
      // The server can decode more types than any browser.
    } finally {
      URL.revokeObjectURL(image.src);
    }
  }
  // A copy, because a phone may move or delete the file before it is sent.
  return new Blob([await file.arrayBuffer()]);
}
