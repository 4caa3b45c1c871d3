/** The picture of the network: inputs, units with their maps, and weights as lines. */
import { app } from "./app.js";
import { byId, element, oncePerFrame } from "./dom.js";
import { FEATURES } from "./features.js";
import { layout } from "./geometry.js";
import { buildInputs, inputs, isImage, onPlane, position } from "./inputs.js";
import { openUnit, openWeight, weightText } from "./inspect.js";
import { setUpLayers, showLayerControls } from "./layers.js";
import { Gap, MOST } from "./lines.js";
import { paths, receptive, share, strengths } from "./images.js";
import { colorAt, drawMap } from "./maps.js";
import { word } from "./words.js";

/** @typedef {import("./socket.js").Frame} Frame */

/** @type {ReturnType<typeof layout>} */
let places = { columns: [], width: 0, height: 0, tight: false };
/** @type {Gap[]} */
let gaps = [];
/**
 * @type {{button: any, canvas: HTMLCanvasElement, bias: HTMLElement, shade: string}[][]} by column, without the inputs
 */
let tiles = [];
/** @type {any} */
let svg;
/** @type {{gap: number, line: any}|null} */
let hovered = null;
/** @type {HTMLCanvasElement[]} the inputs that are columns of a table */
let columns = [];
let shape = "";
let stageWidth = 0;

export function setUpNetwork() {
  const stage = byId("network");
  new ResizeObserver(([entry]) => {
    const width = Math.round(entry.contentRect.width);
    if (width !== stageWidth) {
      stageWidth = width;
      rebuild();
    }
  }).observe(stage.parentElement);
  stage.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => hover(event));
  stage.addEventListener("pointerleave", () => leave());
  stage.addEventListener("click", (/** @type {PointerEvent} */ event) => clicked(event));
  setUpLayers();
  app.on("settings", () => rebuild());
  app.on("runs", () => rebuild());
  app.on("language", () => {
    shape = "";
    rebuild();
  });
  app.on("theme", () => {
    shape = "";
    rebuild();
  });
  app.on("frame", (run) => {
    if (run === app.run) draw(run.frame);
  });
}

/** The number that the server gave to a dense layer. @param {string} name */
const order = (name) => Number(/^weights\/dense_(\d+)\//.exec(name)?.[1] ?? 0);

/** The weights by layer, from the input on. @param {Frame} frame @param {string} leaf */
export const weightArrays = (frame, leaf = "kernel") =>
  Object.values(frame.arrays)
    .filter((array) => /^weights\/dense/.test(array.name) && array.name.endsWith(`/${leaf}`))
    .sort((a, b) => order(a.name) - order(b.name));

const rebuild = oncePerFrame(() => {
  const settings = app.settings;
  if (!app.run?.built || settings.kind !== "network" || !stageWidth) return;
  const shown = onPlane() ? FEATURES : inputs();
  const hidden = settings.layers.map((layer) => layer.units);
  const outputs = app.run.built.outputs ?? 1;
  const now = JSON.stringify([shown, inputs(), hidden, outputs, stageWidth, isImage()]);
  if (now !== shape) {
    shape = now;
    places = layout(shown.length, isImage(), hidden, outputs, stageWidth);
    build(shown);
  }
  showLayerControls(places);
  describe(hidden);
  if (app.run.frame) draw(app.run.frame);
});

/** @param {number[]} hidden */
function describe(hidden) {
  byId("network-size").textContent = word("network_size", {
    units: hidden.reduce((a, b) => a + b, 0),
    parameters: app.run.built.parameters,
  });
  const most = gaps.some((gap) => gap.count > MOST);
  byId("network-note").textContent =
    word("network_note") + (most ? ` ${word("largest_weights", { count: MOST })}` : "");
}

/** @param {string[]} shown */
function build(shown) {
  const stage = byId("network");
  leave();
  svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("width", String(places.width));
  svg.setAttribute("height", String(places.height));
  svg.setAttribute("aria-hidden", "true");
  const heads = element("div", { id: "layer-heads" });
  stage.classList.toggle("tight", places.tight);
  stage.style.width = `${places.width}px`;
  stage.style.height = `${places.height}px`;
  stage.replaceChildren(svg, heads, element("div", { id: "tip", className: "tip", hidden: true }));
  columns = buildInputs(stage, places.columns[0], shown);
  tiles = places.columns
    .slice(1)
    .map((column, index) => column.places.map((place, unit) => tile(stage, place, index, unit)));
  const active = inputs()
    .map((name) => places.columns[0].places[shown.indexOf(name)])
    .filter(Boolean);
  gaps = places.columns.slice(1).map((column, index) => {
    return new Gap(svg, index ? places.columns[index].places : active, column.places);
  });
}

/**
 * @param {HTMLElement} stage
 * @param {import("./geometry.js").Place} place
 * @param {number} layer
 * @param {number} unit
 */
function tile(stage, place, layer, unit) {
  const canvas = element("canvas", { ariaHidden: "true" });
  const bias = element("span", { className: "bias" });
  const output = layer === places.columns.length - 2;
  const button = element(
    "button",
    {
      className: `unit${output ? " final" : ""}`,
      id: `unit-${layer}-${unit}`,
      on: {
        pointerenter: () => app.emit("show", { layer, unit, output }),
        pointerleave: () => app.emit("show", null),
        focus: () => app.emit("show", { layer, unit, output }),
        blur: () => app.emit("show", null),
        click: (/** @type {Event} */ event) => {
          event.stopPropagation();
          openUnit(layer, unit, output, button);
        },
      },
    },
    canvas,
    bias,
  );
  button.setAttribute(
    "aria-label",
    output ? word("output_label", { unit: unit + 1 }) : word("unit_label", { layer: layer + 1, unit: unit + 1 }),
  );
  button.title = word("unit_hint");
  const classes = app.run.built.classes;
  if (output && classes.length > 2) button.append(element("span", { className: "name", textContent: classes[unit] }));
  button.classList.toggle("small", place.size < 24);
  position(button, place);
  stage.append(button);
  return { button, canvas, bias, shade: "" };
}

/** Show a frame: the maps of the units, the weights and the biases. @param {Frame|null} frame */
function draw(frame) {
  if (!frame || app.settings.kind !== "network" || !tiles.length) return;
  const kernels = weightArrays(frame);
  const biases = weightArrays(frame, "bias");
  if (kernels.length !== gaps.length) return;
  kernels.forEach((kernel, index) => gaps[index].draw(/** @type {Float32Array} */ (kernel.values)));
  columns.forEach((canvas, index) => {
    if (frame.arrays[`feature/${index}`]) drawMap(canvas, frame.arrays[`feature/${index}`]);
  });
  const seen = isImage() ? paths(kernels) : [];
  if (isImage()) drawMap(byId("pixels"), strengths(kernels[0]), "sequential");
  tiles.forEach((column, layer) =>
    column.forEach((one, unit) => {
      const map =
        frame.arrays[`unit/${layer}/${unit}`] ??
        (column.length === 1 && layer === tiles.length - 1 ? frame.arrays.output : undefined);
      if (map) drawMap(one.canvas, map);
      else if (frame.arrays.confidence && layer === tiles.length - 1)
        drawMap(one.canvas, share(frame, unit), "sequential");
      else if (isImage()) drawMap(one.canvas, receptive(seen[layer], unit));
      const bias = biases[layer]?.values[unit] ?? 0;
      const shade = colorAt("diverging", 0.5 + bias / 4);
      if (shade !== one.shade) {
        one.bias.style.background = shade;
        one.shade = shade;
      }
    }),
  );
  if (hovered) tip();
}

/** @param {PointerEvent} event */
function lineAt(event) {
  const box = svg?.getBoundingClientRect();
  if (!box || (event.target instanceof Element && event.target.closest("button, select, input, label"))) return null;
  for (let gap = 0; gap < gaps.length; gap++) {
    const line = gaps[gap].nearest(event.clientX - box.left, event.clientY - box.top);
    if (line) return { gap, line, x: event.clientX - box.left, y: event.clientY - box.top };
  }
  return null;
}

/** @param {PointerEvent} event */
function hover(event) {
  const found = lineAt(event);
  if (hovered?.line !== found?.line) {
    hovered?.line.path.classList.remove("hovered");
    hovered = found;
  }
  byId("network").classList.toggle("over-line", Boolean(found));
  const note = byId("tip");
  if (!note) return;
  note.hidden = !found;
  if (found) {
    note.style.left = `${found.x + 12}px`;
    note.style.top = `${found.y - 34}px`;
    tip();
  }
}

function tip() {
  if (!hovered) return;
  const { gap, line } = hovered;
  const units = gaps[gap].to.length;
  hovered.line.path.classList.add("hovered");
  byId("tip").textContent = weightText(
    gaps[gap].weights?.[line.pair] ?? 0,
    gap,
    Math.floor(line.pair / units),
    line.pair % units,
  );
}

function leave() {
  hovered?.line.path.classList.remove("hovered");
  hovered = null;
  if (byId("tip")) byId("tip").hidden = true;
}

/** @param {PointerEvent} event */
function clicked(event) {
  const found = lineAt(event);
  if (!found) return;
  const units = gaps[found.gap].to.length;
  leave();
  openWeight(found.gap, [Math.floor(found.line.pair / units), found.line.pair % units], event);
}
