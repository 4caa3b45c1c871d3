/** Where each unit of the network stands on the stage, and which column it belongs to. */

/** @typedef {{x: number, y: number, size: number}} Place */
/** @typedef {{kind: "inputs"|"pixels"|"hidden"|"output", count: number, places: Place[], x: number}} Column */

const GAP = 7;
const TALLEST = 16;
/** Height of the controls of a layer above its units. */
export const HEAD = 104;
/** Between columns: with room for the controls of a layer, and at least. */
const PITCH = 118;
const LEAST_PITCH = 78;
export const PIXELS = 112;

/**
 * The columns of a network, from the inputs to the output.
 * @param {number} inputs units of the input, or pixels of an image
 * @param {boolean} image whether the inputs are the pixels of a square image
 * @param {number[]} hidden @param {number} outputs @param {number} width of the stage's container
 * @returns {{columns: Column[], width: number, height: number, tight: boolean}}
 */
export function layout(inputs, image, hidden, outputs, width) {
  const counts = [inputs, ...hidden, outputs];
  const first = image ? 12 + PIXELS / 2 : 86;
  const all = Math.max(width, first + LEAST_PITCH * (hidden.length + 1) + 56);
  const last = all - 56;
  const pitch = (last - first) / (counts.length - 1);
  const tallest = Math.max(...counts.map((count, index) => (image && index === 0 ? 0 : Math.min(count, TALLEST))));
  const room = Math.max(330, Math.min(420, tallest * 47));
  const columns = counts.map((count, index) => {
    const x = first + pitch * index;
    const kind = index === 0 ? (image ? "pixels" : "inputs") : index === counts.length - 1 ? "output" : "hidden";
    const places = kind === "pixels" ? pixels(count, x, room) : units(count, x, room, pitch);
    return { kind: /** @type {Column["kind"]} */ (kind), count, places, x };
  });
  return { columns, width: all, height: HEAD + room + 12, tight: pitch < PITCH };
}

/**
 * Units below each other; many of them in several columns.
 * @param {number} count
 * @param {number} x
 * @param {number} room
 * @param {number} pitch
 */
function units(count, x, room, pitch) {
  const rows = Math.min(count, TALLEST);
  const wide = Math.ceil(count / TALLEST);
  const widest = wide > 1 ? Math.min(18, (pitch - 22) / wide - 3) : 40;
  const size = Math.max(11, Math.min(widest, room / rows - GAP));
  const down = wide > 1 ? size + 3 : Math.min(room / rows, size + 16);
  return Array.from({ length: count }, (_, index) => ({
    x: x + (Math.floor(index / rows) - (wide - 1) / 2) * (size + 3),
    y: HEAD + down * ((index % rows) + 0.5),
    size,
  }));
}

/** The pixels of an image. @param {number} count @param {number} x @param {number} room */
function pixels(count, x, room) {
  const side = Math.round(Math.sqrt(count));
  const size = PIXELS / side;
  return Array.from({ length: count }, (_, index) => ({
    x: x + ((index % side) - (side - 1) / 2) * size,
    y: HEAD + Math.min(room / 2, 150) + (Math.floor(index / side) - (side - 1) / 2) * size,
    size,
  }));
}

/**
 * The curve of a weight, from the right side of one unit to the left side of another.
 * @param {Place} from @param {Place} to
 */
export function curve(from, to) {
  const x1 = from.x + from.size / 2;
  const x2 = to.x - to.size / 2;
  const middle = (x1 + x2) / 2;
  return (
    `M${x1.toFixed(1)} ${from.y.toFixed(1)}C${middle.toFixed(1)} ${from.y.toFixed(1)} ${middle.toFixed(1)} ` +
    `${to.y.toFixed(1)} ${x2.toFixed(1)} ${to.y.toFixed(1)}`
  );
}

/** Height of such a curve at x, or NaN beside it. @param {Place} from @param {Place} to @param {number} x */
export function heightAt(from, to, x) {
  const x1 = from.x + from.size / 2;
  const x2 = to.x - to.size / 2;
  if (x < x1 || x > x2) return NaN;
  // x(t) rises with t, so halving finds t.
  let [low, high] = [0, 1];
  for (let i = 0; i < 18; i++) {
    const t = (low + high) / 2;
    const there = x1 * (1 - t) ** 3 + 1.5 * (x1 + x2) * t * (1 - t) + x2 * t ** 3;
    if (there < x) low = t;
    else high = t;
  }
  return from.y + (to.y - from.y) * (3 * low * low - 2 * low * low * low);
}
