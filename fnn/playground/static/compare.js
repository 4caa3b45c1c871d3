/** Two runs beside each other: each has its own connection, and the controls change the one that is chosen. */
import { app } from "./app.js";
import { byId, element } from "./dom.js";
import { runName } from "./output.js";
import { number, word } from "./words.js";

/** @type {any} */
let table;

/** @param {HTMLElement} panel */
export function buildCompare(panel) {
  table = element("tbody", { id: "compare-rows" });
  panel.append(
    element("p", { className: "note", word: "compare_note" }),
    element(
      "div",
      { className: "row-of-controls" },
      element("button", { id: "second-run", word: "second_run_add", on: { click: () => toggle() } }),
      element(
        "fieldset",
        { id: "choose-run", className: "switch", hidden: true },
        element("legend", { word: "controls_change" }),
        ...[0, 1].map((index) =>
          element(
            "label",
            { className: "check" },
            element("input", {
              type: "radio",
              name: "run",
              id: `run-${index}`,
              checked: index === 0,
              on: { change: () => choose(index) },
            }),
            element("span", { className: "run-name" }),
          ),
        ),
      ),
    ),
    element(
      "table",
      { id: "compare-table", hidden: true },
      element(
        "thead",
        {},
        element(
          "tr",
          {},
          element("th", { scope: "col", word: "setting" }),
          element("th", { scope: "col", id: "compare-a" }),
          element("th", { scope: "col", id: "compare-b" }),
        ),
      ),
      table,
    ),
  );
  for (const event of /** @type {const} */ (["settings", "runs", "language"])) app.on(event, show);
}

/** Begin a second run with the settings of the first, or end it. */
async function toggle() {
  if (app.runs.length > 1) {
    app.runs.pop()?.socket.end();
    app.active = 0;
    app.emit("runs");
    return;
  }
  const run = app.connect();
  try {
    await run.socket.hello;
  } catch {
    return; // The loss of the connection has been reported.
  }
  app.runs.push(run);
  await app.runs[0].reset();
  await run.set(structuredClone(/** @type {any} */ (app.runs[0].settings)));
  app.active = 1;
  app.emit("runs");
}

/** @param {number} index */
function choose(index) {
  app.active = index;
  app.emit("runs");
}

function show() {
  const two = app.runs.length > 1;
  const button = byId("second-run");
  button.dataset.word = two ? "second_run_remove" : "second_run_add";
  button.textContent = word(button.dataset.word);
  byId("choose-run").hidden = !two;
  byId("compare-table").hidden = !two;
  [0, 1].forEach((index) => {
    byId(`run-${index}`).checked = app.active === index;
    byId(`run-${index}`).nextElementSibling.textContent = runName(index);
    byId(index ? "compare-b" : "compare-a").textContent = runName(index);
  });
  if (!two) return;
  const [a, b] = app.runs.map((run) => describe(run.settings));
  table.replaceChildren(
    ...[...a.keys()].map((name) =>
      element(
        "tr",
        { className: a.get(name) === b.get(name) ? "" : "differs" },
        element("th", { scope: "row", word: name }),
        element("td", { textContent: a.get(name) }),
        element("td", { textContent: b.get(name) }),
      ),
    ),
  );
}

/** The settings in words. @param {any} settings @returns {Map<string, string>} */
function describe(settings) {
  if (!settings) return new Map();
  const layers = settings.layers.map((/** @type {any} */ layer) =>
    [
      `${layer.units} ${layer.activation}`,
      layer.dropout ? word("dropout_short", { rate: layer.dropout }) : "",
      layer.batch_norm ? "BN" : "",
    ]
      .filter(Boolean)
      .join(" "),
  );
  const { name, ...hypers } = settings.optimizer;
  return new Map([
    ["data", word(`data_${settings.data.name}`)],
    ["layers", layers.join(", ") || "–"],
    [
      "optimizer",
      [
        name,
        ...Object.entries(hypers).map(
          ([key, value]) => `${key === "learning_rate" ? word(key).toLowerCase() : key} ${number(value)}`,
        ),
      ].join(", "),
    ],
    [
      "penalty",
      settings.penalty.kind === "none"
        ? word("none")
        : `${settings.penalty.kind.toUpperCase()} ${number(settings.penalty.rate)}`,
    ],
    ["batch_size", String(settings.batch_size)],
    ["initializer", settings.initializer],
    ["seed", String(settings.seed)],
  ]);
}
