/** Weights and probabilities as small maps. */
import { toBytes } from "./maps.js";

/** @typedef {import("./socket.js").Frame} Frame */
/** @typedef {import("./socket.js").FrameArray} FrameArray */

/** Where a class is the most probable one, and how probable. @param {Frame} frame @param {number} unit */
export function share(frame, unit) {
  const { output, confidence } = frame.arrays;
  return { shape: output.shape, values: output.values.map((best, i) => (best === unit ? confidence.values[i] : 0)) };
}

/**
 * The weights from the pixels to the units of each layer: those of the first layer, and further on the products of
 * weights along all paths, added up, which is what linear units would see.
 * @param {FrameArray[]} kernels by layer
 */
export function paths(kernels) {
  /** @type {{shape: number[], values: ArrayLike<number>}[]} */
  const found = kernels.slice(0, 1);
  for (const kernel of kernels.slice(1)) found.push(times(found[found.length - 1], kernel));
  return found;
}

/** @param {{shape: number[], values: ArrayLike<number>}} a @param {FrameArray} b a matrix too */
function times(a, b) {
  const [rows, inner] = a.shape;
  const columns = b.shape[1];
  const values = new Float32Array(rows * columns);
  for (let i = 0; i < rows; i++) {
    for (let k = 0; k < inner; k++) {
      const factor = a.values[i * inner + k];
      for (let j = 0; j < columns; j++) values[i * columns + j] += factor * b.values[k * columns + j];
    }
  }
  return { shape: [rows, columns], values };
}

/** A unit's column of such weights as an image. @param {{shape: number[], values: ArrayLike<number>}} weights @param {number} unit */
export function receptive({ shape: [count, units], values: all }, unit) {
  const side = Math.round(Math.sqrt(count));
  const values = Float32Array.from({ length: count }, (_, i) => all[i * units + unit]);
  const largest = Math.max(1e-6, ...values.map(Math.abs));
  return { shape: [side, side], values: toBytes(values, -largest, largest) };
}

/** How strong the weights are that leave each pixel. @param {FrameArray} kernel */
export function strengths(kernel) {
  const [count, units] = kernel.shape;
  const side = Math.round(Math.sqrt(count));
  const sums = Float32Array.from({ length: count }, (_, i) => {
    let sum = 0;
    for (let unit = 0; unit < units; unit++) sum += Math.abs(kernel.values[i * units + unit]);
    return sum;
  });
  return { shape: [side, side], values: toBytes(sums, 0, Math.max(...sums)) };
}
