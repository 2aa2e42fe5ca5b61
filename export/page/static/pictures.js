// Pictures between files, canvases and what a network takes: uint8, row by row, 1, 3 or 4 channels.

// Pillow's bicubic filter, antialiased: what the training data was resized by.
function cubic(x) {
  x = Math.abs(x);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

// For each place of the new side: where its window of the old one begins, and the weights in it.
function windows(from, to) {
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  return Array.from({ length: to }, (_, i) => {
    const center = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - 2 * stretch + 0.5));
    const end = Math.min(from, Math.trunc(center + 2 * stretch + 0.5));
    const weights = Array.from({ length: end - first }, (_, k) => cubic((first + k - center + 0.5) / stretch));
    const sum = weights.reduce((a, b) => a + b, 0);
    return { first, weights: weights.map((w) => w / sum) };
  });
}

// RGBA pixels {data, width, height} at another size.
export function resized(image, width, height) {
  const across = image.width === width ? image : along(image, width, image.height, windows(image.width, width), 4);
  if (image.height === height) return across;
  return along(across, width, height, windows(image.height, height), 4 * width);
}

// One of the two passes: `step` is how far apart neighbors lie in the side that changes.
function along(image, width, height, places, step) {
  const horizontal = step === 4;
  const data = new Uint8ClampedArray(4 * width * height);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const { first, weights } = places[horizontal ? x : y];
      let from = horizontal ? 4 * (y * image.width + first) : step * first + 4 * x;
      let red = 0, green = 0, blue = 0, alpha = 0;
      for (const weight of weights) {
        red += weight * image.data[from];
        green += weight * image.data[from + 1];
        blue += weight * image.data[from + 2];
        alpha += weight * image.data[from + 3];
        from += step;
      }
      data[at++] = red;
      data[at++] = green;
      data[at++] = blue;
      data[at++] = alpha;
    }
  }
  return { data, width, height };
}

// The middle of a drawable (a bitmap, a canvas, a video), cut to the aspect of width × height, as RGBA pixels.
export function fitted(source, width, height, keepAlpha) {
  const [w, h] = [source.videoWidth || source.width, source.videoHeight || source.height];
  const scale = Math.min(w / width, h / height);
  const [cutWidth, cutHeight] = [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
  const canvas = new OffscreenCanvas(cutWidth, cutHeight);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!keepAlpha) {
    context.fillStyle = "white";
    context.fillRect(0, 0, cutWidth, cutHeight);
  }
  context.drawImage(source, -Math.trunc((w - cutWidth) / 2), -Math.trunc((h - cutHeight) / 2));
  return resized(context.getImageData(0, 0, cutWidth, cutHeight), width, height);
}

// A file's picture, upright as its EXIF orientation says.
export async function opened(file) {
  try {
    return await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    throw new Error(`${file.name || "This file"} is not a picture that this browser reads: choose a PNG or a JPEG.`);
  }
}

// RGBA pixels as a network takes them.
export function toBytes({ data, width, height }, channels) {
  const bytes = new Uint8Array(width * height * channels);
  for (let i = 0; i < width * height; i++) {
    const [red, green, blue] = data.subarray(4 * i, 4 * i + 3);
    if (channels === 1) bytes[i] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16; // as Pillow's "L"
    else for (let c = 0; c < channels; c++) bytes[channels * i + c] = data[4 * i + c];
  }
  return bytes;
}

// What a network gives, [1, height, width, channels], onto a canvas.
export function show(canvas, bytes, [, height, width, channels]) {
  const image = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = bytes[channels * i + (channels < 3 ? 0 : c)];
    image.data[4 * i + 3] = channels === 4 ? bytes[4 * i + 3] : 255;
  }
  [canvas.width, canvas.height] = [width, height];
  canvas.classList.toggle("small", width < 128);
  canvas.getContext("2d").putImageData(image, 0, 0);
}
