/** The perceptron's rule, and McCulloch and Pitts's formulas: networks of threshold units. */
import { app } from "./app.js";
import { byId, element } from "./dom.js";
import { curve } from "./geometry.js";
import { short } from "./inspect.js";
import { openPanel, isOpen } from "./panels.js";
import { word } from "./words.js";

/** @typedef {{name: string, inputs: string[], weights: number[], threshold: number}} Node */

const SVG = "http://www.w3.org/2000/svg";
const SIZE = 46;
const PITCH = 84;
/** @type {Object<string, number>} what the reader gives to each input of the formula */
let bits = {};
/** @type {any} */
let box;
/** @type {any} */
let formula = null;

export function buildClassic() {
  const text = element("input", {
    id: "formula",
    spellcheck: false,
    autocomplete: "off",
    maxLength: app.hello.limits.formula[1],
    on: {
      change: () =>
        app.change((settings) => {
          settings.formula = text.value;
        }),
    },
  });
  const examples = ["a and b", "a or b", "(a or b) and not (a and b)", "a and (b or not c)"];
  box = element(
    "div",
    { id: "classic", hidden: true },
    element(
      "div",
      { id: "formula-box" },
      element("label", { className: "field" }, element("span", { word: "formula" }), text),
      element("p", { className: "note", word: "formula_note" }),
      element(
        "div",
        { className: "row-of-controls" },
        ...examples.map((example, index) =>
          element("button", {
            id: `formula-${index}`,
            className: "example",
            textContent: example,
            translate: false,
            on: {
              click: () =>
                app.change((settings) => {
                  settings.formula = example;
                }),
            },
          }),
        ),
      ),
    ),
    element("p", { id: "rule", className: "note", word: "rule_note" }),
    element("div", { className: "scroll" }, element("div", { id: "diagram", className: "stage" })),
    element("p", { id: "classic-said", role: "status" }),
  );
  document.querySelector(".network")?.append(box);
  byId("output-extra").append(
    element("table", { id: "truth", hidden: true }, element("thead", {}), element("tbody", {})),
  );
  for (const event of /** @type {const} */ (["settings", "runs", "language", "theme"])) app.on(event, show);
  app.on("frame", (run) => {
    if (run === app.run && app.settings.kind === "perceptron") showPerceptron(run.frame);
  });
}

function show() {
  const { kind } = app.settings;
  box.hidden = kind === "network";
  byId("formula-box").hidden = kind !== "formula";
  byId("rule").hidden = kind !== "perceptron";
  byId("truth").hidden = kind !== "formula";
  byId("classic-said").textContent = "";
  if (kind !== "network" && !isOpen("code")) openPanel("code");
  byId("network-title").textContent = word(kind === "network" ? "network" : `kind_${kind}`);
  if (kind === "perceptron" && app.run.frame) showPerceptron(app.run.frame);
  if (kind !== "formula") return;
  if (document.activeElement !== byId("formula")) byId("formula").value = app.run.settings?.formula ?? "";
  formula = app.run.built?.nodes ? app.run.built : null;
  if (formula) showFormula();
}

/** @param {any} frame */
function showPerceptron(frame) {
  const kernel = frame.arrays["weights/perceptron/kernel"];
  const bias = frame.arrays["weights/perceptron/bias"];
  if (!kernel || !bias) return;
  const names = ["x₁", "x₂", "1"];
  const weights = [...kernel.values, bias.values[0]];
  draw(names, [{ name: "Σ ≥ 0", inputs: names, weights, threshold: 0 }], {}, () => {});
  const sign = (/** @type {number} */ value) => (value < 0 ? "− " : "+ ") + short(Math.abs(value));
  byId("classic-said").textContent = word("perceptron_said", {
    line: `${short(weights[0])} x₁ ${sign(weights[1])} x₂ ${sign(weights[2])} = 0`,
    corrections: frame.corrections,
  });
  if (frame.converged) byId("classic-said").textContent += ` ${word("perceptron_done")}`;
  else if (app.run.built?.separable === false) byId("classic-said").textContent += ` ${word("perceptron_never")}`;
}

/** The values of all inputs and units, as the units compute them. @returns {Object<string, number>} */
function values() {
  const found = Object.fromEntries(formula.names.map((/** @type {string} */ name) => [name, bits[name] ?? 0]));
  for (const node of formula.nodes) {
    const sum = node.inputs.reduce(
      (/** @type {number} */ total, /** @type {string} */ name, /** @type {number} */ i) =>
        total + node.weights[i] * found[name],
      0,
    );
    found[node.name] = Number(sum >= node.threshold);
  }
  return found;
}

function showFormula() {
  const now = values();
  draw(formula.names, formula.nodes, now, (name) => {
    bits[name] = 1 - (bits[name] ?? 0);
    showFormula();
    byId(`bit-${name}`)?.focus();
  });
  const last = formula.nodes[formula.nodes.length - 1];
  byId("classic-said").textContent = word("formula_said", {
    value: last ? now[last.name] : now[formula.names[0]],
    units: formula.nodes.length,
  });
  const columns = [...formula.names, ...formula.nodes.map((/** @type {Node} */ node) => node.name)];
  const row = (/** @type {string} */ kind, /** @type {any[]} */ texts, className = "") =>
    element(
      "tr",
      { className },
      ...texts.map((text) => element(kind, { textContent: String(text), translate: kind !== "th" })),
    );
  const isNow = (/** @type {Object<string, number>} */ line) =>
    formula.names.every((/** @type {string} */ name) => line[name] === (bits[name] ?? 0));
  const [head, body] = byId("truth").children;
  head.replaceChildren(row("th", columns));
  body.replaceChildren(
    ...formula.table.map((/** @type {Object<string, number>} */ line) =>
      row(
        "td",
        columns.map((name) => line[name]),
        isNow(line) ? "now" : "",
      ),
    ),
  );
}

/**
 * Places of inputs and units, each unit at the height of what it reads, as far as its column has room.
 * @param {string[]} inputs @param {Node[]} nodes @param {Map<string, number>} depth
 */
function arrange(inputs, nodes, depth) {
  /** @type {Map<string, {x: number, y: number, size: number}>} */
  const places = new Map(inputs.map((name, row) => [name, { x: 75, y: PITCH * (row + 0.5), size: SIZE }]));
  for (let column = 1; column <= Math.max(...depth.values()); column++) {
    const here = nodes
      .filter((node) => depth.get(node.name) === column)
      .map((node) => {
        const heights = node.inputs.map((name) => places.get(name)?.y ?? 0);
        return { name: node.name, y: heights.reduce((a, b) => a + b, 0) / heights.length };
      });
    here.sort((a, b) => a.y - b.y);
    let least = PITCH / 2;
    for (const { name, y } of here) {
      const at = Math.max(least, y);
      places.set(name, { x: 75 + 150 * column, y: at, size: SIZE });
      least = at + PITCH;
    }
  }
  return places;
}

/**
 * Units in columns by their depth, with their weights on the lines.
 * @param {string[]} inputs @param {Node[]} nodes @param {Object<string, number>} now values that are known
 * @param {(name: string) => void} flip called when the reader changes an input
 */
function draw(inputs, nodes, now, flip) {
  /** @type {Map<string, number>} */
  const depth = new Map(inputs.map((name) => [name, 0]));
  for (const node of nodes) depth.set(node.name, 1 + Math.max(...node.inputs.map((name) => depth.get(name) ?? 0)));
  const places = arrange(inputs, nodes, depth);
  const width = 150 * (1 + Math.max(...depth.values()));
  const height = PITCH + Math.max(...[...places.values()].map((place) => place.y)) - PITCH / 2;
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("width", String(width));
  svg.setAttribute("height", String(height));
  const labels = nodes.flatMap((node) =>
    node.inputs.map((name, i) => line(svg, places.get(name), places.get(node.name), node.weights[i])),
  );
  const units = [...places].map(([name, place]) =>
    unit(
      name,
      place,
      nodes.find((node) => node.name === name),
      now[name],
      inputs.includes(name) && name in now ? flip : null,
    ),
  );
  const stage = byId("diagram");
  Object.assign(stage.style, { width: `${width}px`, height: `${height}px` });
  stage.replaceChildren(svg, ...labels, ...units);
}

/**
 * @param {SVGElement} svg
 * @param {any} from
 * @param {any} to
 * @param {number} weight
 * @returns {HTMLElement} its number
 */
function line(svg, from, to, weight) {
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", curve(from, to));
  path.setAttribute("stroke-width", String(Math.min(8, Math.max(1, 2 * Math.abs(weight)))));
  path.setAttribute("class", weight < 0 ? "negative" : "positive");
  svg.append(path);
  const label = element("span", {
    className: "weight-label",
    textContent: Number.isInteger(weight) ? String(weight).replace("-", "−") : short(weight),
  });
  label.style.left = `${from.x + 0.36 * (to.x - from.x)}px`;
  label.style.top = `${from.y + 0.28 * (to.y - from.y)}px`;
  return label;
}

/**
 * @param {string} name
 * @param {any} place
 * @param {Node|undefined} node
 * @param {number|undefined} value
 * @param {((name: string) => void)|null} flip
 */
function unit(name, place, node, value, flip) {
  const label = node && value !== undefined ? word("threshold", { value: node.threshold }) : "";
  const box = element(
    flip ? "button" : "div",
    { className: `neuron${value ? " fires" : ""}` },
    element("b", { textContent: name, translate: false }),
    value === undefined ? null : element("span", { textContent: String(value) }),
  );
  if (flip) {
    box.id = `bit-${name}`;
    box.setAttribute("aria-pressed", String(Boolean(value)));
    box.setAttribute("aria-label", word("bit_label", { name, value }));
    box.addEventListener("click", () => flip(name));
  }
  if (label) box.append(element("small", { textContent: label }));
  Object.assign(box.style, { left: `${place.x}px`, top: `${place.y}px` });
  return box;
}
