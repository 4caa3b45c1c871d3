/** Curves on a canvas, with axes and a legend that does not need colours. */
import { sharp, theme } from "./maps.js";
import { number } from "./words.js";

/** @typedef {{points: [number, number][], color: string, dash?: number[], width?: number, name?: string}} Curve */

/** Colours and dashes for curves, in the order of use. */
export const STYLES = [
  { color: { light: "#086eb4", dark: "#5cb4f0" }, dash: [] },
  { color: { light: "#b85c00", dark: "#f6a042" }, dash: [6, 3] },
  { color: { light: "#00795a", dark: "#3fc79f" }, dash: [2, 2] },
  { color: { light: "#9b3f80", dark: "#e08fc0" }, dash: [8, 3, 2, 3] },
  { color: { light: "#555b61", dark: "#b8c0c8" }, dash: [] },
  { color: { light: "#6a4fb3", dark: "#b39df0" }, dash: [6, 3] },
  { color: { light: "#a1301f", dark: "#ff9d92" }, dash: [2, 2] },
  { color: { light: "#5f6b00", dark: "#cfd85a" }, dash: [8, 3, 2, 3] },
  { color: { light: "#00707f", dark: "#58d0de" }, dash: [] },
];

/** @param {number} index */
export const curveStyle = (index) => {
  const style = STYLES[index % STYLES.length];
  return { color: style.color[theme()], dash: style.dash };
};

/** A number at an axis. @param {number} value */
function tick(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 10_000 || size < 0.001) return value.toExponential(0).replace("e+", "e");
  return number(Number(value.toPrecision(2)));
}

/** Round steps between two numbers. @param {number} low @param {number} high @param {number} count */
function ticks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough) ?? rough;
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + 1e-12; value += step) found.push(value);
  return found;
}

/**
 * No more points than a chart shows: the first and the last stay.
 * @param {[number, number][]} points
 * @param {number} most
 */
function thin(points, most) {
  if (points.length <= most) return points;
  const step = (points.length - 1) / (most - 1);
  return Array.from({ length: most }, (_, index) => points[Math.round(index * step)]);
}

/**
 * Draw curves. @param {HTMLCanvasElement} canvas @param {Curve[]} curves
 * @param {{log?: boolean, cursor?: number|null, zero?: boolean, axes?: boolean, xName?: string}} [options]
 */
export function drawCurves(canvas, curves, { log = false, cursor = null, zero = true, axes = true, xName = "" } = {}) {
  const { context, width, height } = sharp(canvas);
  const scale = (/** @type {number} */ y) => (log ? Math.log10(Math.max(y, 1e-12)) : y);
  const shown = curves.map((curve) => ({ ...curve, points: thin(curve.points, Math.max(60, Math.round(width))) }));
  const finite = shown.flatMap((curve) => curve.points).filter(([, y]) => Number.isFinite(y));
  if (!finite.length) return;
  const ys = finite.map(([, y]) => scale(y)).sort((a, b) => a - b);
  const xs = finite.map(([x]) => x);
  let low = zero && !log ? Math.min(0, ys[0]) : ys[0];
  // One value far above all others must not hide them.
  let high = ys[Math.min(ys.length - 1, Math.ceil(0.995 * (ys.length - 1)))];
  if (high - low < 1e-9) [low, high] = [low - (log ? 0.5 : 0), high + (log ? 0.5 : 1e-3)];
  if (log) [low, high] = [Math.floor(low), Math.ceil(high)];
  const [first, last] = [Math.min(...xs), Math.max(Math.max(...xs), Math.min(...xs) + 1)];
  const inner = axes
    ? { left: 38, right: width - 8, top: 8, bottom: height - 20 }
    : { left: 1, right: width - 1, top: 2, bottom: height - 2 };
  const px = (/** @type {number} */ x) => inner.left + ((x - first) / (last - first)) * (inner.right - inner.left);
  const py = (/** @type {number} */ y) => {
    const place = (scale(y) - low) / (high - low);
    return inner.bottom - Math.min(1.02, Math.max(-0.02, place)) * (inner.bottom - inner.top);
  };
  if (axes) drawAxes(context, inner, { low, high, first, last, log, px, py, xName });
  for (const curve of shown) drawCurve(context, curve, px, py);
  if (cursor !== null && cursor < last) {
    context.setLineDash([2, 3]);
    context.strokeStyle = ink();
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(px(cursor), inner.top);
    context.lineTo(px(cursor), inner.bottom);
    context.stroke();
    context.setLineDash([]);
  }
}

const ink = () => (theme() === "dark" ? "#aab4c0" : "#56616d");
const faint = () => (theme() === "dark" ? "#303944" : "#e1e6ec");

/** @param {CanvasRenderingContext2D} context @param {any} inner @param {any} axes */
function drawAxes(context, inner, { low, high, first, last, log, px, py, xName }) {
  context.font = "11px system-ui, sans-serif";
  context.fillStyle = ink();
  context.strokeStyle = faint();
  context.lineWidth = 1;
  context.textAlign = "right";
  context.textBaseline = "middle";
  const values = log ? powers(low, high) : ticks(low, high, 3);
  for (const value of values) {
    const y = Math.round(py(value)) + 0.5;
    context.beginPath();
    context.moveTo(inner.left, y);
    context.lineTo(inner.right, y);
    context.stroke();
    context.fillText(tick(value), inner.left - 5, y);
  }
  context.textBaseline = "top";
  const room = xName ? inner.right - context.measureText(xName).width - 24 : inner.right;
  const across = ticks(first, last, Math.max(2, Math.min(5, (inner.right - inner.left) / 60))).filter(
    (value) => Number.isInteger(value) && px(value) <= room,
  );
  for (const value of across) {
    context.textAlign = px(value) > inner.right - 20 ? "right" : px(value) < inner.left + 20 ? "left" : "center";
    context.fillText(tick(value), px(value), inner.bottom + 6);
  }
  if (xName) {
    context.textAlign = "right";
    context.fillText(xName, inner.right, inner.bottom + 6);
  }
}

/** @param {number} low @param {number} high powers of ten */
function powers(low, high) {
  const step = Math.max(1, Math.ceil((high - low) / 4));
  const found = [];
  for (let power = low; power <= high; power += step) found.push(10 ** power);
  return found;
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Curve} curve
 * @param {(x: number) => number} px
 * @param {(y: number) => number} py
 */
function drawCurve(context, curve, px, py) {
  context.strokeStyle = curve.color;
  context.lineWidth = curve.width ?? 1.8;
  context.setLineDash(curve.dash ?? []);
  context.lineJoin = "round";
  context.beginPath();
  let down = false;
  for (const [x, y] of curve.points) {
    if (!Number.isFinite(y)) {
      down = false;
      continue;
    }
    if (down) context.lineTo(px(x), py(y));
    else context.moveTo(px(x), py(y));
    down = true;
  }
  context.stroke();
  context.setLineDash([]);
}
