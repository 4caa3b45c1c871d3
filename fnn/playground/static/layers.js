/** The controls above each layer, and those that add and remove layers. */
import { app } from "./app.js";
import { byId, checkbox, element, select, slider } from "./dom.js";
import { newLayer } from "./settings.js";
import { word } from "./words.js";

/** Which layer shows its further settings, or -1. */
let openLayer = -1;

/** The largest number that the server takes. @param {string} name */
const most = (name) => app.hello.limits[name][1];

/**
 * A round button with a sign.
 * @param {string} id
 * @param {string} sign
 * @param {string} name
 * @param {Object<string, any>} values
 * @param {boolean} disabled
 * @param {() => void} act
 */
function signButton(id, sign, name, values, disabled, act) {
  const button = element("button", { id, className: "sign", textContent: sign, disabled, on: { click: act } });
  button.setAttribute("aria-label", word(name, values));
  button.title = word(name, values);
  return button;
}

/**
 * Change settings and bring the focus back to a control that is built anew.
 * @param {string} id
 * @param {(settings: import("./settings.js").Settings) => void} mutate
 */
function changeFrom(id, mutate) {
  app.change(mutate).then(() => requestAnimationFrame(() => byId(id)?.focus({ preventScroll: true })));
}

/** The further settings of a layer close like a card: with Escape, or when something else is pressed. */
export function setUpLayers() {
  document.addEventListener("pointerdown", (event) => {
    if (event.target instanceof Element && !event.target.closest(".layer-details, .options")) closeDetails();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || openLayer < 0) return;
    byId(`options-${openLayer}`)?.focus();
    closeDetails();
  });
}

function closeDetails() {
  openLayer = -1;
  for (const node of document.querySelectorAll(".layer-details")) node.remove();
  for (const node of document.querySelectorAll(".options")) node.setAttribute("aria-expanded", "false");
}

/** @param {{columns: import("./geometry.js").Column[]}} places */
export function showLayerControls(places) {
  const { layers } = app.settings;
  showCounter(layers);
  const heads = layers.map((layer, index) => head(layer, index, places.columns[index + 1].x));
  const output = element("div", { className: "column-title", word: "output" });
  output.style.left = `${places.columns[places.columns.length - 1].x}px`;
  byId("layer-heads").replaceChildren(...heads, output);
}

/** @param {import("./settings.js").LayerSettings[]} layers */
function showCounter(layers) {
  const last = layers[layers.length - 1];
  byId("layers-count").replaceChildren(
    signButton("remove-layer", "−", "remove_layer", {}, layers.length === 0, () =>
      changeFrom("remove-layer", (settings) => {
        settings.layers.pop();
      }),
    ),
    element("span", {
      id: "layers-number",
      textContent: word("hidden_layers", { count: layers.length }),
    }),
    signButton("add-layer", "+", "add_layer", {}, layers.length >= most("layers"), () =>
      changeFrom("add-layer", (settings) => {
        settings.layers.push(newLayer(2, last?.activation));
      }),
    ),
  );
}

/** @param {import("./settings.js").LayerSettings} layer @param {number} index @param {number} x */
function head(layer, index, x) {
  const name = { layer: index + 1 };
  const units = (/** @type {number} */ by) => (/** @type {any} */ settings) => {
    settings.layers[index].units += by;
  };
  const activation = select(
    app.hello.activations.map((/** @type {string} */ one) => [one, null]),
    (value) =>
      changeFrom(`activation-${index}`, (settings) => {
        settings.layers[index].activation = value;
      }),
    { id: `activation-${index}` },
  );
  activation.value = layer.activation;
  activation.setAttribute("aria-label", word("activation_of", name));
  const extras = [layer.dropout ? word("dropout_short", { rate: layer.dropout }) : "", layer.batch_norm ? "BN" : ""];
  const options = element("button", {
    id: `options-${index}`,
    className: "options",
    ariaExpanded: String(openLayer === index),
    textContent: extras.filter(Boolean).join(" · ") || word("options"),
    on: { click: () => toggle(index, options) },
  });
  options.setAttribute("aria-label", word("options_of", name));
  const node = element(
    "div",
    { className: "layer-head", role: "group" },
    element(
      "div",
      { className: "counter" },
      signButton(`fewer-${index}`, "−", "fewer_units", name, layer.units <= 1, () =>
        changeFrom(`fewer-${index}`, units(-1)),
      ),
      element("span", { id: `units-${index}`, textContent: String(layer.units) }),
      signButton(`more-${index}`, "+", "more_units", name, layer.units >= most("units"), () =>
        changeFrom(`more-${index}`, units(1)),
      ),
    ),
    activation,
    options,
  );
  node.setAttribute("aria-label", word("layer", name));
  node.style.left = `${x}px`;
  if (openLayer === index) node.append(details(layer, index));
  return node;
}

/** @param {number} index @param {HTMLElement} button */
function toggle(index, button) {
  const opened = openLayer !== index;
  closeDetails();
  if (!opened) return;
  openLayer = index;
  button.setAttribute("aria-expanded", "true");
  button.parentElement?.append(details(app.settings.layers[index], index));
}

/**
 * Units, dropout and BatchNorm of one layer.
 * @param {import("./settings.js").LayerSettings} layer
 * @param {number} index
 */
function details(layer, index) {
  const dropout = slider({ name: "dropout", min: 0, max: 0.9, step: 0.1, id: `dropout-${index}` }, (value) =>
    changeFrom(`dropout-${index}`, (settings) => {
      settings.layers[index].dropout = value;
    }),
  );
  dropout.set(layer.dropout);
  const norm = checkbox("batch_norm", `batch-norm-${index}`, (on) =>
    changeFrom(`batch-norm-${index}`, (settings) => {
      settings.layers[index].batch_norm = on;
    }),
  );
  norm.input.checked = layer.batch_norm;
  norm.input.disabled =
    !layer.batch_norm && app.settings.layers.filter((one) => one.batch_norm).length >= most("batch_norms");
  const units = element("input", {
    type: "number",
    id: `number-${index}`,
    min: 1,
    max: most("units"),
    step: 1,
    required: true,
    value: String(layer.units),
    on: {
      change: () => {
        if (units.reportValidity()) {
          changeFrom(`number-${index}`, (settings) => {
            settings.layers[index].units = Number(units.value);
          });
        }
      },
    },
  });
  return element(
    "div",
    { className: "layer-details card" },
    element("label", { className: "field" }, element("span", { word: "units" }), units),
    dropout.node,
    norm.node,
  );
}
