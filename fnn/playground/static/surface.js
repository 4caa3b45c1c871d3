/** The path of the optimizer on a slice of the loss surface, along the two directions in which it moved most. */
import { app } from "./app.js";
import { element } from "./dom.js";
import { short } from "./inspect.js";
import { drawMap, palette, sharp, theme, toBytes } from "./maps.js";
import { word } from "./words.js";

/** @type {any} the newest answer: a map of the logarithm of the loss, its range, and the path */
let shown = null;
/** @type {{[name: string]: any}} */
const parts = {};

/** @param {HTMLElement} panel */
export function buildSurface(panel) {
  parts.button = element("button", { id: "surface-start", word: "surface_start", on: { click: () => start() } });
  parts.map = element("canvas", { id: "surface-map", role: "img", label: "surface_label" });
  parts.path = element("canvas", { id: "surface-path", ariaHidden: "true" });
  parts.said = element("p", { id: "surface-said", role: "status" });
  parts.legend = element(
    "div",
    { className: "gradient" },
    element("canvas", { width: 256, height: 1, ariaHidden: "true" }),
    element("div", {}, element("span", {}), element("span", {})),
  );
  parts.result = element(
    "div",
    { className: "surface", hidden: true },
    element("div", { className: "square" }, parts.map, parts.path),
    element(
      "div",
      { className: "surface-words" },
      parts.said,
      parts.legend,
      element(
        "ul",
        { className: "note" },
        element("li", { word: "surface_start_mark" }),
        element("li", { word: "surface_end_mark" }),
        element("li", { word: "surface_axes" }),
      ),
    ),
  );
  panel.append(element("p", { className: "note", word: "surface_note" }), parts.button, parts.result);
  for (const event of /** @type {const} */ (["language", "theme"])) app.on(event, draw);
  new ResizeObserver(draw).observe(parts.path);
}

async function start() {
  const { run } = app;
  if (run.playing) await run.pause();
  run.listening.set("surface", (frame) => {
    shown = frame;
  });
  parts.button.disabled = true;
  const answer = await run.ask("surface");
  parts.button.disabled = false;
  if (answer) draw();
}

/** The logarithm of the loss, from its least to its largest finite value. @param {ArrayLike<number>} losses */
function logarithms(losses) {
  const values = Float64Array.from(losses, (loss) => Math.log10(Math.max(loss, 1e-12)));
  const finite = values.filter(Number.isFinite);
  const [least, most] = [Math.min(...finite), Math.max(...finite)];
  return { bytes: toBytes(values, least, most), low: 10 ** least, high: 10 ** most };
}

function draw() {
  parts.result.hidden = !shown;
  if (!shown) return;
  const { arrays, extent, path } = shown;
  const { bytes, low, high } = logarithms(arrays.surface.values);
  drawMap(parts.map, { shape: arrays.surface.shape, values: bytes }, "sequential");
  drawPath(path, extent);
  const context = parts.legend.firstChild.getContext("2d");
  const image = context.createImageData(256, 1);
  new Uint32Array(image.data.buffer).set(palette("sequential"));
  context.putImageData(image, 0, 0);
  const [left, right] = parts.legend.lastChild.children;
  left.textContent = word("surface_low", { loss: short(low) });
  right.textContent = short(high);
  const share = shown.explained.map((/** @type {number} */ one) => Math.round(100 * one));
  parts.said.textContent = word("surface_said", {
    first: share[0],
    second: share[1],
    low: short(low),
    high: short(high),
  });
}

/** @param {number[][]} path rows of epoch, two coordinates and loss @param {number[]} extent least and largest of each */
function drawPath(path, [left, right, bottom, top]) {
  const { context, width, height } = sharp(parts.path);
  const px = (/** @type {number} */ i) => ((path[i][1] - left) / (right - left)) * width;
  const py = (/** @type {number} */ i) => ((top - path[i][2]) / (top - bottom)) * height;
  const count = path.length;
  for (const [color, line] of /** @type {[string, number][]} */ ([
    [theme() === "dark" ? "#000" : "#fff", 4.5],
    ["#d96c00", 2],
  ])) {
    context.strokeStyle = color;
    context.lineWidth = line;
    context.lineJoin = "round";
    context.beginPath();
    for (let i = 0; i < count; i++) context.lineTo(px(i), py(i));
    context.stroke();
  }
  context.fillStyle = "#fff";
  context.strokeStyle = "#d96c00";
  context.lineWidth = 2.5;
  context.beginPath();
  context.arc(px(0), py(0), 5, 0, 7);
  context.fill();
  context.stroke();
  context.fillStyle = "#d96c00";
  context.strokeStyle = "#fff";
  context.fillRect(px(count - 1) - 5, py(count - 1) - 5, 10, 10);
  context.strokeRect(px(count - 1) - 5, py(count - 1) - 5, 10, 10);
}
