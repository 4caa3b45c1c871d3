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
 * The weights between the pixels and a unit as an image: for a unit of the first layer its own, further on the products
 * of weights along all paths, added up, which is what a network of linear units would see.
 * @param {FrameArray[]} kernels of the layers up to the unit's @param {number} unit
 */
export function seen(kernels, unit) {
  const last = kernels[kernels.length - 1];
  let values = Float32Array.from({ length: last.shape[0] }, (_, i) => last.values[i * last.shape[1] + unit]);
  for (const kernel of kernels.slice(0, -1).reverse()) values = times(kernel, values);
  const count = values.length;
  const side = Math.round(Math.sqrt(count));
  const largest = Math.max(1e-6, ...values.map(Math.abs));
  return { shape: [side, side], values: toBytes(values, -largest, largest) };
}

/** A kernel times a vector. @param {FrameArray} kernel @param {Float32Array} vector */
function times({ shape: [rows, columns], values }, vector) {
  return Float32Array.from({ length: rows }, (_, i) => {
    let sum = 0;
    for (let j = 0; j < columns; j++) sum += values[i * columns + j] * vector[j];
    return sum;
  });
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
