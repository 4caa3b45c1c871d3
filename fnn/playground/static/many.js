/** Many at once: the same network with several seeds or learning rates, trained as one program. */
import { app } from "./app.js";
import { curveStyle, drawCurves } from "./charts.js";
import { byId, element, field, select } from "./dom.js";
import { short } from "./inspect.js";
import { colorAt, drawClasses, drawMap } from "./maps.js";
import { isOpen } from "./panels.js";
import { word } from "./words.js";

/** @typedef {import("./socket.js").Frame} Frame */

/** @typedef {{over: string, values: number[], train: number[][], test: number[][]}} Trials */

/** @type {Trials|null} the newest answer */
let shown = null;
/** @type {Frame|null} its maps */
let pictures = null;
/** @type {{[name: string]: any}} */
const parts = {};

/** @param {HTMLElement} panel */
export function buildMany(panel) {
  parts.over = select(
    [
      ["seed", "over_seed"],
      ["learning_rate", "over_rate"],
    ],
    () => {},
    { id: "many-over" },
  );
  parts.count = element("input", {
    type: "range",
    id: "many-count",
    min: 2,
    max: app.hello.limits.count[1],
    step: 1,
    value: "8",
    on: {
      input: () => {
        parts.number.textContent = parts.count.value;
      },
    },
  });
  parts.number = element("output", { textContent: "8" });
  parts.epochs = element("input", {
    type: "number",
    id: "many-epochs",
    min: 1,
    max: app.hello.limits.many_epochs[1],
    value: "100",
    required: true,
  });
  parts.button = element("button", { id: "many-start", word: "many_start", on: { click: () => start() } });
  parts.progress = element("progress", { id: "many-progress", max: 1, value: 0, hidden: true, label: "many_progress" });
  parts.grid = element("div", { id: "many-members", className: "members" });
  parts.chart = element("canvas", { id: "many-chart", className: "chart", role: "img", label: "many_chart" });
  parts.mean = element("canvas", { id: "many-mean", role: "img", label: "many_mean" });
  parts.spread = element("canvas", { id: "many-spread", role: "img", label: "many_spread" });
  parts.said = element("p", { id: "many-said", role: "status" });
  parts.pair = element(
    "div",
    { className: "pair" },
    figure("many_mean", parts.mean),
    figure("many_spread", parts.spread),
  );
  panel.append(
    element("p", { className: "note", word: "many_note" }),
    element(
      "div",
      { className: "row-of-controls" },
      field("many_over", parts.over),
      element(
        "label",
        { className: "field range", htmlFor: "many-count" },
        element("span", { className: "name" }, element("span", { word: "many_count" }), parts.number),
        parts.count,
      ),
      field("many_epochs", parts.epochs),
      parts.button,
      parts.progress,
    ),
    parts.said,
    element(
      "div",
      { id: "many-result", className: "many", hidden: true },
      parts.grid,
      parts.pair,
      element("div", {}, element("h3", { word: "many_chart" }), parts.chart),
    ),
  );
  for (const event of /** @type {const} */ (["language", "theme"])) app.on(event, draw);
  new ResizeObserver(draw).observe(parts.chart);
}

/** @param {string} name @param {HTMLCanvasElement} canvas */
const figure = (name, canvas) =>
  element("figure", { className: "small-map" }, canvas, element("figcaption", { word: name }));

async function start() {
  if (!parts.epochs.reportValidity()) return;
  const { run } = app;
  if (run.playing) await run.pause();
  run.listening.set("many", (frame) => {
    pictures = frame;
  });
  run.listening.set("progress", ({ epoch, epochs }) => {
    parts.progress.value = epoch / epochs;
  });
  parts.button.disabled = true;
  parts.progress.hidden = false;
  parts.progress.value = 0;
  const wanted = {
    over: parts.over.value,
    count: Number(parts.count.value),
    epochs: Number(parts.epochs.value),
  };
  const answer = await run.ask("many", wanted);
  parts.button.disabled = false;
  parts.progress.hidden = true;
  if (!answer) return;
  shown = answer;
  draw();
}

/** A map of one network or of their mean: of classes where there are several. @param {any} canvas @param {any} map */
function drawMember(canvas, map) {
  if (map.low === undefined) drawClasses(canvas, map, { values: new Uint8Array(map.values.length).fill(255) });
  else drawMap(canvas, map);
}

function draw() {
  byId("many-result").hidden = !shown;
  if (!shown || !isOpen("many")) return;
  const { values, over, test } = shown;
  const arrays = pictures?.arrays ?? {};
  while (parts.grid.children.length > values.length) parts.grid.lastChild.remove();
  while (parts.grid.children.length < values.length) {
    parts.grid.append(
      element("figure", { className: "small-map" }, element("canvas", { role: "img" }), element("figcaption", {})),
    );
  }
  const ends = test.map((one) => one[one.length - 1] ?? NaN);
  values.forEach((value, index) => {
    const [canvas, caption] = parts.grid.children[index].children;
    canvas.hidden = !arrays[`member/${index}`];
    if (!canvas.hidden) drawMember(canvas, arrays[`member/${index}`]);
    const name = word(over === "seed" ? "member_seed" : "member_rate", { value: Number(value.toPrecision(2)) });
    caption.textContent = `${name}: ${short(ends[index])}`;
    canvas.setAttribute("aria-label", caption.textContent);
  });
  parts.pair.hidden = !arrays.mean;
  if (arrays.mean) {
    drawMember(parts.mean, arrays.mean);
    drawMap(parts.spread, arrays.spread, "sequential");
  }
  drawCurves(parts.chart, curves(shown), { xName: word("epoch") });
  const finite = ends.filter(Number.isFinite);
  parts.said.textContent = word("many_said", {
    count: values.length,
    epoch: test[0].length,
    low: short(Math.min(...finite)),
    high: short(Math.max(...finite)),
  });
}

/** Test losses: seeds all alike, learning rates from orange (low) to blue (high). @param {Trials} trials */
function curves({ values, over, test }) {
  return test.map((one, index) => {
    const place = index / (values.length - 1);
    return {
      points: one.map((loss, epoch) => /** @type {[number, number]} */ ([epoch + 1, loss])),
      color: over === "seed" ? curveStyle(0).color : colorAt("diverging", Math.abs(place - 0.5) < 0.15 ? 0.3 : place),
      width: 1.2,
    };
  });
}
