/** Layer by layer: the size of the gradient, dead and saturated units. Here the vanishing gradient can be seen. */
import { app } from "./app.js";
import { curveStyle, drawCurves } from "./charts.js";
import { byId, element } from "./dom.js";
import { isOpen } from "./panels.js";
import { number, percent, word } from "./words.js";

/** @type {any} */
let rows;
/** @type {any} */
let chart;

/** @param {HTMLElement} panel */
export function buildHealth(panel) {
  rows = element("tbody", { id: "health-rows" });
  const head = ["layer_column", "gradient", "dead", "saturated"].map((name) =>
    element("th", { scope: "col", word: name, hint: `${name}_hint` }),
  );
  chart = element("canvas", { className: "chart", id: "health-chart", role: "img", label: "gradient_chart" });
  panel.append(
    element(
      "div",
      { className: "split" },
      element(
        "div",
        {},
        element("p", { className: "note", word: "health_note" }),
        element("table", { className: "health" }, element("thead", {}, element("tr", {}, ...head)), rows),
      ),
      element("div", {}, element("h3", { word: "gradient_chart" }), chart),
    ),
  );
  app.on("frame", (run) => {
    if (run === app.run) drawHealth();
  });
  for (const event of /** @type {const} */ (["language", "theme", "runs"])) app.on(event, drawHealth);
  new ResizeObserver(() => drawHealth()).observe(chart);
}

export function drawHealth() {
  const run = app.run;
  if (!isOpen("health") || !run?.frame?.layers) return;
  /** @type {any[]} */
  const layers = run.frame.layers;
  while (rows.children.length > layers.length) rows.lastChild.remove();
  while (rows.children.length < layers.length) {
    rows.append(
      element(
        "tr",
        {},
        element("th", { scope: "row" }, element("span", { className: "key" }), element("span", {})),
        ...["gradient", "dead", "saturated"].map((name) =>
          element("td", {}, element("span", { className: `bar ${name}` }), element("output", {})),
        ),
      ),
    );
  }
  layers.forEach((layer, index) => showRow(rows.children[index], layer, index, index === layers.length - 1));
  drawCurves(
    chart,
    layers.map((_, index) => ({
      ...curveStyle(index),
      points: run.health
        .filter((moment) => moment.layers[index]?.gradient > 0)
        .map((moment) => /** @type {[number, number]} */ ([moment.epoch, moment.layers[index].gradient])),
    })),
    { log: true, xName: word("epoch") },
  );
}

/** @param {any} row @param {any} layer @param {number} index @param {boolean} last */
function showRow(row, layer, index, last) {
  const [head, gradient, dead, saturated] = row.children;
  const { color, dash } = curveStyle(index);
  head.children[0].style.borderTop = `3px ${dash.length ? "dashed" : "solid"} ${color}`;
  head.children[1].textContent = last ? word("output") : word("layer", { layer: index + 1 });
  // From a millionth to one, in powers of ten.
  const place = layer.gradient > 0 ? 1 + Math.log10(layer.gradient) / 6 : 0;
  showCell(gradient, place, layer.gradient == null ? "–" : number(layer.gradient.toExponential(1).replace("-", "−")));
  for (const [cell, value] of [
    [dead, layer.dead],
    [saturated, layer.saturated],
  ]) {
    showCell(cell, value ?? 0, value == null ? "–" : percent(value));
  }
}

/** @param {any} cell @param {number} part @param {string} text */
function showCell(cell, part, text) {
  cell.children[0].style.setProperty("--part", String(Math.min(1, Math.max(0, part))));
  if (cell.children[1].textContent !== text) cell.children[1].textContent = text;
}

/** Show the panel anew when it is opened. */
export const healthShown = () => {
  if (byId("panel-health")) drawHealth();
};
