/** Weights and probabilities as small maps. */
import { toBytes } from "./maps.js";

/** @typedef {import("./socket.js").Frame} Frame */
/** @typedef {import("./socket.js").FrameArray} FrameArray */

/** Where a class is the most probable one, and how probable. @param {Frame} frame @param {number} unit */
export function share(frame, unit) {
  const { output, confidence } = frame.arrays;
  return { shape: output.shape, values: output.values.map((best, i) => (best === unit ? confidence.values[i] : 0)) };
}

/** The weights of a unit that sees an image, as an image. @param {FrameArray} kernel @param {number} unit */
export function receptive(kernel, unit) {
  const [count, units] = kernel.shape;
  const side = Math.round(Math.sqrt(count));
  const values = Float32Array.from({ length: count }, (_, i) => kernel.values[i * units + unit]);
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
