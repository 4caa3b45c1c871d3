/** Weights as lines: thickness and colour show the value, and negative ones are dashed. */
import { curve, heightAt } from "./geometry.js";

/** @typedef {import("./geometry.js").Place} Place */
/** @typedef {{from: number, to: number, weight: number}} Line */

/** Lines between two columns that are drawn at most; of more weights, the largest are shown. */
export const MOST = 140;

/** The lines between two columns. */
export class Gap {
  /** @param {SVGElement} svg @param {Place[]} from @param {Place[]} to */
  constructor(svg, from, to) {
    this.from = from;
    this.to = to;
    this.count = from.length * to.length;
    this.group = document.createElementNS("http://www.w3.org/2000/svg", "g");
    svg.append(this.group);
    /** @type {{path: SVGPathElement, pair: number, width: number, negative: boolean}[]} */
    this.lines = Array.from({ length: Math.min(this.count, MOST) }, (_, index) => {
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      this.group.append(path);
      const line = { path, pair: -1, width: -1, negative: false };
      this.place(line, index);
      return line;
    });
    /** @type {Float32Array|null} */
    this.weights = null;
  }

  /** @param {Gap["lines"][number]} line @param {number} pair */
  place(line, pair) {
    if (line.pair === pair) return;
    line.pair = pair;
    const outputs = this.to.length;
    line.path.setAttribute("d", curve(this.from[Math.floor(pair / outputs)], this.to[pair % outputs]));
  }

  /** Show weights of shape (from, to). @param {Float32Array} weights */
  draw(weights) {
    if (weights.length !== this.count) return;
    this.weights = weights;
    if (this.count > MOST) this.choose(weights);
    const scale = this.lines.length > 60 ? 1.2 : 2.4;
    for (const line of this.lines) {
      const weight = weights[line.pair];
      const width = Math.round(4 * Math.min(9, Math.max(0.5, scale * Math.abs(weight)))) / 4;
      const negative = weight < 0;
      if (line.width === width && line.negative === negative) continue;
      line.path.setAttribute("stroke-width", String(width));
      line.path.setAttribute("class", negative ? "negative" : "positive");
      line.width = width;
      line.negative = negative;
    }
  }

  /** Give the lines to the largest weights. @param {Float32Array} weights */
  choose(weights) {
    const sizes = weights.map(Math.abs).sort();
    const least = sizes[sizes.length - MOST];
    let next = 0;
    for (let pair = 0; pair < weights.length && next < MOST; pair++) {
      if (Math.abs(weights[pair]) >= least) this.place(this.lines[next++], pair);
    }
  }

  /** The line nearest to a place, within some pixels. @param {number} x @param {number} y */
  nearest(x, y) {
    let found = null;
    let least = 9;
    for (const line of this.lines) {
      const from = this.from[Math.floor(line.pair / this.to.length)];
      const distance = Math.abs(heightAt(from, this.to[line.pair % this.to.length], x) - y);
      if (distance < least) {
        least = distance;
        found = line;
      }
    }
    return found;
  }
}
