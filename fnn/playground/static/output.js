/** The right column: losses, their curves, the map of the output with its points and its legend. */
import { app } from "./app.js";
import { curveStyle, drawCurves } from "./charts.js";
import { byId, checkbox, element, oncePerFrame } from "./dom.js";
import { short } from "./inspect.js";
import { CLASSES, RANGE, SYMBOLS, drawClasses, drawMap, drawPoints, drawSymbol, palette, theme } from "./maps.js";
import { className, number, percent, word } from "./words.js";

/** @typedef {import("./run.js").Run} Run */
/** @typedef {{figure: HTMLElement, title: HTMLElement, map: HTMLCanvasElement, points: HTMLCanvasElement,
 *   drawn: any}} View */

/** @type {View[]} one for each run */
let views = [];
/** @type {{layer: number, unit: number, output: boolean}|null} the unit under the pointer */
let shownUnit = null;
let said = 0;

export function setUpOutput() {
  byId("output-extra").append(
    element("div", { className: "legend", id: "legend" }),
    element(
      "div",
      { className: "checks" },
      checkbox("show_test", "show-test", (on) => change("test", on)).node,
      checkbox("discretize", "discretize", (on) => change("discretize", on)).node,
    ),
  );
  app.on("runs", () => {
    build();
    redraw();
  });
  app.on("settings", () => {
    views.forEach((view) => {
      view.drawn = null;
    });
    redraw();
  });
  app.on("theme", () => {
    views.forEach((view) => {
      view.drawn = null;
    });
    redraw();
  });
  app.on("language", () => {
    build();
    redraw();
  });
  app.on("show", (unit) => {
    shownUnit = unit;
    redraw();
  });
  app.on("frame", (run) => drawRun(run));
  new ResizeObserver(() => {
    views.forEach((view) => {
      view.drawn = null;
    });
    redraw();
  }).observe(byId("maps"));
  build();
}

/** @param {"test"|"discretize"} name @param {boolean} on */
function change(name, on) {
  app.view[name] = on;
  if (name === "discretize") app.all((run) => run.ask("view", { discretize: on }));
  views.forEach((view) => {
    view.drawn = null;
  });
  redraw();
}

/** The canvas above the map of the active run, on which points are drawn by hand. */
export const pad = () => views[app.active]?.points;

function build() {
  const many = app.runs.length > 1;
  views = app.runs.map((_, index) => {
    const title = element("figcaption", {});
    const map = element("canvas", { className: "map", id: `map-${index}`, role: "img" });
    const points = element("canvas", { className: "points", id: `points-${index}` });
    points.setAttribute("aria-hidden", "true");
    const figure = element(
      "figure",
      { className: many && index === app.active ? "active" : "" },
      title,
      element("div", { className: "square" }, map, points),
    );
    return { figure, title, map, points, drawn: null };
  });
  byId("maps").replaceChildren(...views.map((view) => view.figure));
  byId("maps").classList.toggle("two", many);
}

const redraw = oncePerFrame(() => app.runs.forEach(drawRun));

/** The name of a run where there are two. @param {number} index */
export const runName = (index) => word("run_name", { name: "AB"[index] });

/** @param {Run} run */
function drawRun(run) {
  const view = views[app.runs.indexOf(run)];
  const frame = run.frame;
  if (!view || !frame) return;
  const unit = run === app.run && shownUnit && !shownUnit.output ? shownUnit : null;
  const map = (unit && frame.arrays[`unit/${unit.layer}/${unit.unit}`]) || frame.arrays.output;
  view.figure.hidden = !map;
  if (map && map === frame.arrays.output && frame.arrays.confidence)
    drawClasses(view.map, map, frame.arrays.confidence);
  else if (map) drawMap(view.map, map);
  const name = unit
    ? word("unit_label", { layer: unit.layer + 1, unit: unit.unit + 1 })
    : app.runs.length > 1
      ? runName(app.runs.indexOf(run))
      : "";
  if (view.title.textContent !== name) view.title.textContent = name;
  drawData(run, view);
  if (run === app.run) {
    showLosses();
    say(frame);
  }
  drawChart();
  if (run === app.run) showLegend(run);
}

/** Points are drawn again only when they change. @param {Run} run @param {View} view */
function drawData(run, view) {
  const { train, test } = run.points;
  if (view.drawn === train || !train) return;
  view.drawn = train;
  const sets = [{ rows: train.values, test: false }];
  if (app.view.test && test) sets.push({ rows: test.values, test: true });
  drawPoints(view.points, sets, targets(run));
}

/** What targets mean: how many classes there are, and which square the map shows. @param {Run} run */
function targets(run) {
  return { classes: run.built.classes?.length ?? 0, low: -1, high: 1, range: run.built.domain };
}

/** Losses and accuracies of all runs, as numbers. */
function showLosses() {
  const cells = app.runs.flatMap((run, index) => {
    const { loss, accuracy } = /** @type {any} */ (run.frame ?? {});
    if (!loss) return [];
    const prefix = app.runs.length > 1 ? `${"AB"[index]} · ` : "";
    const line = (/** @type {"train"|"test"} */ part, /** @type {number} */ style) => {
      const value = loss[part];
      return {
        name: prefix + word(app.settings.kind === "perceptron" ? `${part}_mistakes` : `${part}_loss`),
        style: 2 * index + style,
        value,
        extra: accuracy?.[part] != null ? word("accuracy", { percent: percent(accuracy[part]) }) : "",
      };
    };
    return [line("train", 0), line("test", 1)];
  });
  const box = byId("losses");
  while (box.children.length > cells.length) box.lastChild.remove();
  while (box.children.length < cells.length) {
    box.append(
      element(
        "div",
        { className: "loss" },
        element("span", { className: "key" }),
        element("span", { className: "name" }),
        element("output", {}),
        element("span", { className: "extra" }),
      ),
    );
  }
  cells.forEach(({ name, style, value, extra }, index) => {
    const [key, label, output, more] = box.children[index].children;
    const { color, dash } = curveStyle(style);
    key.style.borderTop = `3px ${dash.length ? "dashed" : "solid"} ${color}`;
    label.textContent = name;
    output.textContent = value == null ? "–" : short(value);
    output.dataset.value = value == null ? "" : String(value);
    more.textContent = extra;
  });
}

function drawChart() {
  const curves = app.runs.flatMap((run, index) =>
    [1, 2].map((column) => ({
      ...curveStyle(2 * index + column - 1),
      points: /** @type {[number, number][]} */ (run.history.map((point) => [point[0], point[column]])),
    })),
  );
  const cursor = app.run.frame && app.run.frame.epoch < app.run.reached ? app.run.frame.epoch : null;
  drawCurves(byId("loss-chart"), curves, { cursor, xName: word("epoch") });
}

/** Tell epoch and loss to screen readers, not more often than every four seconds. @param {any} frame */
function say(frame) {
  const number = String(frame.epoch);
  if (byId("epoch").textContent !== number) byId("epoch").textContent = number;
  const now = performance.now();
  if (app.run.playing && now - said < 4000) return;
  said = now;
  const text = word("spoken", {
    epoch: frame.epoch,
    train: short(frame.loss?.train ?? NaN),
    test: short(frame.loss?.test ?? NaN),
  });
  byId("live").textContent = text;
  byId("loss-chart").setAttribute("aria-label", `${word("loss_curves")} ${text}`);
  views.forEach((view, index) =>
    view.map.setAttribute(
      "aria-label",
      word("map_label", {
        name: app.runs.length > 1 ? runName(index) : word("output"),
        range: RANGE,
      }),
    ),
  );
}

let legendOf = "";

/** @param {Run} run */
function showLegend(run) {
  const map = run.frame?.arrays.output;
  const classes = run.built?.classes ?? [];
  const state = JSON.stringify([
    map?.low,
    map?.high,
    classes,
    theme(),
    document.documentElement.lang,
    run.settings?.data.name,
  ]);
  if (state === legendOf) return;
  legendOf = state;
  const box = byId("legend");
  box.replaceChildren();
  if (!map) return;
  if (classes.length <= 2) box.append(gradient(map.low ?? -1, map.high ?? 1));
  if (classes.length)
    box.append(
      element(
        "div",
        { className: "classes" },
        ...classes.map((/** @type {string} */ name, /** @type {number} */ index) => classMark(className(name), index)),
      ),
    );
}

/** @param {number} low @param {number} high */
function gradient(low, high) {
  const canvas = element("canvas", { width: 256, height: 1, ariaHidden: "true" });
  const context = canvas.getContext("2d");
  const image = context.createImageData(256, 1);
  new Uint32Array(image.data.buffer).set(palette("diverging"));
  context.putImageData(image, 0, 0);
  const mark = (/** @type {number} */ value) =>
    element("span", { textContent: number(Number(value.toPrecision(2))).replace("-", "−") });
  return element(
    "div",
    { className: "gradient" },
    canvas,
    element("div", {}, mark(low), mark((low + high) / 2), mark(high)),
  );
}

/** The sign of a class with its name. @param {string} name @param {number} index */
export function classMark(name, index) {
  const canvas = element("canvas", { className: "mark", width: 28, height: 28, ariaHidden: "true" });
  const context = canvas.getContext("2d");
  context.scale(2, 2);
  context.fillStyle = CLASSES[index % CLASSES.length];
  context.strokeStyle = "#fff";
  drawSymbol(context, SYMBOLS[index % SYMBOLS.length], 7, 7, 5);
  return element("span", {}, canvas, name);
}
