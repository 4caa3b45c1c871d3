/** Maps of numbers as pictures: uint8 through a palette, onto a canvas that the browser enlarges. */

/** @typedef {import("./socket.js").FrameArray} FrameArray */

/** The square of the plane that maps show. */
export const RANGE = 6;

/** Orange for low, blue for high: told apart with every common kind of colour blindness. */
const DIVERGING = {
  light: [
    [240, 150, 52],
    [248, 198, 132],
    [242, 242, 240],
    [132, 188, 226],
    [46, 136, 200],
  ],
  dark: [
    [222, 138, 48],
    [138, 90, 44],
    [32, 38, 45],
    [36, 90, 134],
    [56, 144, 210],
  ],
};
/** From little to much, for spreads and losses. */
const SEQUENTIAL = {
  light: [
    [250, 250, 246],
    [190, 220, 214],
    [98, 170, 180],
    [40, 100, 140],
    [26, 34, 84],
  ],
  dark: [
    [24, 28, 36],
    [34, 70, 104],
    [46, 122, 140],
    [120, 190, 160],
    [240, 240, 200],
  ],
};
/** One colour for each class, by Okabe and Ito, in an order that keeps the first two apart most. */
export const CLASSES = [
  "#d96c00",
  "#005a9c",
  "#009e73",
  "#cc79a7",
  "#c9b800",
  "#56b4e9",
  "#d55e00",
  "#7a7a7a",
  "#8a5fbf",
  "#4d4d00",
];
export const SYMBOLS = [
  "circle",
  "square",
  "triangle",
  "diamond",
  "cross",
  "plus",
  "circle",
  "square",
  "triangle",
  "diamond",
];

/** @param {number[][]} stops @returns {Uint32Array} 256 colours, as pixels of a canvas */
function blend(stops) {
  const palette = new Uint32Array(256);
  const bytes = new Uint8ClampedArray(palette.buffer);
  for (let i = 0; i < 256; i++) {
    const place = (i / 255) * (stops.length - 1);
    const left = Math.min(Math.floor(place), stops.length - 2);
    for (let c = 0; c < 3; c++) {
      bytes[4 * i + c] = stops[left][c] + (place - left) * (stops[left + 1][c] - stops[left][c]);
    }
    bytes[4 * i + 3] = 255;
  }
  return palette;
}

const palettes = {
  diverging: { light: blend(DIVERGING.light), dark: blend(DIVERGING.dark) },
  sequential: { light: blend(SEQUENTIAL.light), dark: blend(SEQUENTIAL.dark) },
};
/** @returns {"light"|"dark"} */
export const theme = () => (document.documentElement.dataset.theme === "dark" ? "dark" : "light");

/** @param {"diverging"|"sequential"} name */
export const palette = (name) => palettes[name][theme()];

/** A colour as CSS. @param {"diverging"|"sequential"} name @param {number} place from 0 to 1 */
export function colorAt(name, place) {
  const bytes = new Uint8Array(palette(name).buffer, 4 * Math.round(255 * Math.min(1, Math.max(0, place))), 3);
  return `rgb(${bytes[0]}, ${bytes[1]}, ${bytes[2]})`;
}

/** @type {WeakMap<HTMLCanvasElement, {context: CanvasRenderingContext2D, image: ImageData, pixels: Uint32Array}>} */
const surfaces = new WeakMap();

/** A canvas with room for a map. @param {HTMLCanvasElement} canvas @param {number[]} shape */
function surfaceOf(canvas, [height, width]) {
  let surface = surfaces.get(canvas);
  if (!surface || canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
    const image = context.createImageData(width, height);
    surface = { context, image, pixels: new Uint32Array(image.data.buffer) };
    surfaces.set(canvas, surface);
  }
  return surface;
}

/**
 * Draw a map of uint8 values; its first row is the top.
 * @param {HTMLCanvasElement} canvas @param {{shape: number[], values: ArrayLike<number>}} map
 * @param {"diverging"|"sequential"} [name]
 */
export function drawMap(canvas, map, name = "diverging") {
  const { context, image, pixels } = surfaceOf(canvas, map.shape);
  const colors = palette(name);
  const { values } = map;
  for (let i = 0; i < pixels.length; i++) pixels[i] = colors[values[i]];
  context.putImageData(image, 0, 0);
}

/**
 * Draw the most probable class of each cell, the paler the less probable.
 * @param {HTMLCanvasElement} canvas @param {{shape: number[], values: ArrayLike<number>}} map
 * @param {{values: ArrayLike<number>}} confidence 255 for certain
 */
export function drawClasses(canvas, map, confidence) {
  const { context, image } = surfaceOf(canvas, map.shape);
  const base = theme() === "dark" ? 30 : 245;
  for (let i = 0; i < map.values.length; i++) {
    const color = CLASSES[map.values[i] % CLASSES.length];
    const share = 0.8 * (confidence.values[i] / 255) ** 1.5;
    for (let c = 0; c < 3; c++) {
      image.data[4 * i + c] = base + share * (parseInt(color.slice(1 + 2 * c, 3 + 2 * c), 16) - base);
    }
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

/** Numbers as uint8 from `low` to `high`. @param {ArrayLike<number>} values @param {number} low @param {number} high */
export function toBytes(values, low, high) {
  const scale = high > low ? 255 / (high - low) : 0;
  return Uint8Array.from({ length: values.length }, (_, i) => {
    return Math.min(255, Math.max(0, Math.round(scale * (values[i] - low))));
  });
}

/**
 * A map of a function of the plane. @param {(x1: number, x2: number) => number} f @param {number} side
 * @returns {{shape: number[], values: Uint8Array}}
 */
export function mapOf(f, side) {
  const values = new Float64Array(side * side);
  let largest = 1e-9;
  for (let row = 0; row < side; row++) {
    for (let column = 0; column < side; column++) {
      const x1 = RANGE * ((2 * (column + 0.5)) / side - 1);
      const x2 = RANGE * (1 - (2 * (row + 0.5)) / side);
      values[row * side + column] = f(x1, x2);
      largest = Math.max(largest, Math.abs(values[row * side + column]));
    }
  }
  return { shape: [side, side], values: toBytes(values, -largest, largest) };
}

/**
 * The sides of a canvas in CSS pixels, its bitmap made as sharp as the screen. @param {HTMLCanvasElement} canvas
 * @returns {{context: CanvasRenderingContext2D, width: number, height: number}}
 */
export function sharp(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  const bitmap = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  if (canvas.width !== bitmap[0] || canvas.height !== bitmap[1]) [canvas.width, canvas.height] = bitmap;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

/**
 * One point; classes differ in shape as well as in colour.
 * @param {CanvasRenderingContext2D} context
 * @param {string} symbol
 * @param {number} x
 * @param {number} y
 * @param {number} r
 */
export function drawSymbol(context, symbol, x, y, r) {
  context.beginPath();
  if (symbol === "square") context.rect(x - 0.85 * r, y - 0.85 * r, 1.7 * r, 1.7 * r);
  else if (symbol === "triangle")
    polygon(context, [
      [x, y - r],
      [x + r, y + 0.8 * r],
      [x - r, y + 0.8 * r],
    ]);
  else if (symbol === "diamond")
    polygon(context, [
      [x, y - r],
      [x + r, y],
      [x, y + r],
      [x - r, y],
    ]);
  else if (symbol === "cross" || symbol === "plus") {
    const arms =
      symbol === "plus"
        ? [
            [0, r, 0, -r],
            [r, 0, -r, 0],
          ]
        : [
            [r, r, -r, -r],
            [r, -r, -r, r],
          ];
    for (const [a, b, c, d] of arms) {
      context.moveTo(x + a, y + b);
      context.lineTo(x + c, y + d);
    }
  } else context.arc(x, y, r, 0, 2 * Math.PI);
  context.fill();
  context.stroke();
}

/** @param {CanvasRenderingContext2D} context @param {number[][]} corners */
function polygon(context, corners) {
  corners.forEach(([x, y], index) => (index ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.closePath();
}

/**
 * Points over a map: rows of x1, x2 and target. @param {HTMLCanvasElement} canvas
 * @param {{rows: ArrayLike<number>, test: boolean}[]} sets @param {{classes: number, low: number, high: number,
 *   range?: number[]|null}} targets `classes` is 0 for regression
 */
export function drawPoints(canvas, sets, targets) {
  const { context, width, height } = sharp(canvas);
  const [left, right, bottom, top] = targets.range ?? [-RANGE, RANGE, -RANGE, RANGE];
  const outline = theme() === "dark" ? "rgb(10 12 15 / 90%)" : "rgb(255 255 255 / 95%)";
  for (const { rows, test } of sets) {
    for (let i = 0; i + 2 < rows.length; i += 3) {
      const [x1, x2, y] = [rows[i], rows[i + 1], rows[i + 2]];
      const place = (y - targets.low) / (targets.high - targets.low || 1);
      const index = Math.round(y);
      context.fillStyle = targets.classes ? CLASSES[index % CLASSES.length] : colorAt("diverging", place);
      context.strokeStyle = test ? (theme() === "dark" ? "#fff" : "#000") : outline;
      context.lineWidth = test ? 1.4 : 1;
      const symbol = targets.classes ? SYMBOLS[index % SYMBOLS.length] : "circle";
      drawSymbol(context, symbol, ((x1 - left) / (right - left)) * width, ((top - x2) / (top - bottom)) * height, 3.4);
    }
  }
}
