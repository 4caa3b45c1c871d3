/** Cards for a weight and for a unit, where their numbers can be read and changed. */
import { app } from "./app.js";
import { decimalField, element } from "./dom.js";
import { FEATURES, featureName } from "./features.js";
import { drawMap } from "./maps.js";
import { paths, receptive } from "./images.js";
import { isImage } from "./inputs.js";
import { weightArrays } from "./network.js";
import { number, word } from "./words.js";

/** @type {{card: HTMLElement, opener: HTMLElement|null, draw: () => void}|null} */
let open = null;

export function setUpInspect() {
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && open) close();
  });
  document.addEventListener("pointerdown", (event) => {
    if (open && event.target instanceof Node && !open.card.contains(event.target)) close(false);
  });
  app.on("frame", (run) => {
    if (run === app.run) open?.draw();
  });
  app.on("settings", () => close(false));
}

/** @param {boolean} [back] whether the focus goes back to what opened the card */
export function close(back = true) {
  if (!open) return;
  const { card, opener } = open;
  open = null;
  card.remove();
  if (back) opener?.focus();
}

/** A number as readers see it. @param {number} value */
export function short(value) {
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 100_000)) return number(value.toExponential(2).replace("-", "−"));
  return number(value.toFixed(size < 10 ? 3 : 1).replace("-", "−"));
}

/** The name of the unit from which a weight comes. @param {number} gap @param {number} from */
function sourceName(gap, from) {
  if (gap > 0) return word("unit_label", { layer: gap, unit: from + 1 });
  if (isImage()) return word("pixel", { number: from + 1 });
  return featureName((app.run.built?.inputs ?? FEATURES)[from]);
}

/** @param {number} gap @param {number} to */
function targetName(gap, to) {
  return gap === app.settings.layers.length
    ? word("output_label", { unit: to + 1 })
    : word("unit_label", { layer: gap + 1, unit: to + 1 });
}

/** @param {number} weight @param {number} gap @param {number} from @param {number} to */
export function weightText(weight, gap, from, to) {
  return `${sourceName(gap, from)} → ${targetName(gap, to)}: ${short(weight)}`;
}

/** The layer that the server knows by this name holds the weights of a gap. @param {number} gap @param {string} leaf */
function layerOf(gap, leaf) {
  return weightArrays(/** @type {any} */ (app.run.frame), leaf)
    [gap].name.split("/")
    .slice(1, -1)
    .join("/");
}

/** @param {number} gap @param {string} leaf @param {number[]} index @param {number} value */
function change(gap, leaf, index, value) {
  return app.run.ask("weight", { layer: layerOf(gap, leaf), leaf, index, value });
}

/**
 * A number field of a weight, which follows training until it is typed in.
 * @param {string} name @param {() => number} read @param {(value: number) => void} write
 */
function row(name, read, write) {
  const field = decimalField({}, write);
  const node = element("label", { className: "row" }, element("span", { textContent: name }), field.input);
  return { node, set: field.set, draw: () => field.set(read().toFixed(4)) };
}

/**
 * @param {string} title
 * @param {{clientX: number, clientY: number}} place
 * @param {HTMLElement|null} opener
 * @param {any[]} content
 * @param {() => void} draw
 */
function show(title, place, opener, content, draw) {
  close(false);
  const card = element(
    "div",
    { className: "card", role: "dialog", ariaLabel: title },
    element(
      "div",
      { className: "card-head" },
      element("strong", { textContent: title }),
      element("button", { className: "icon", label: "close", textContent: "×", on: { click: () => close() } }),
    ),
    ...content,
  );
  document.body.append(card);
  const { offsetWidth, offsetHeight } = card;
  card.style.left = `${Math.max(8, Math.min(place.clientX + 8, innerWidth - offsetWidth - 8))}px`;
  card.style.top = `${Math.max(8, Math.min(place.clientY + 8, innerHeight - offsetHeight - 8))}px`;
  open = { card, opener, draw };
  draw();
  card.querySelector("input")?.select();
}

/** The card of one weight. @param {number} gap @param {[number, number]} index @param {PointerEvent} event */
export function openWeight(gap, index, event) {
  const read = () => {
    const array = weightArrays(/** @type {any} */ (app.run.frame))[gap];
    return array.values[index[0] * array.shape[1] + index[1]];
  };
  const write = (/** @type {number} */ value) => {
    slider.value = String(value);
    change(gap, "kernel", index, value);
  };
  const typed = row(word("weight"), read, write);
  const slider = element("input", {
    type: "range",
    min: -3,
    max: 3,
    step: 0.05,
    label: "weight",
    on: {
      input: () => {
        typed.set(slider.value, true);
        write(Number(slider.value));
      },
    },
  });
  const title = `${sourceName(gap, index[0])} → ${targetName(gap, index[1])}`;
  show(title, event, null, [typed.node, slider], () => {
    typed.draw();
    if (document.activeElement !== slider) slider.value = String(read());
  });
}

/**
 * The card of a unit: its map, its bias and the weights that come in.
 * @param {number} layer
 * @param {number} unit
 * @param {boolean} output
 * @param {HTMLElement} opener
 */
export function openUnit(layer, unit, output, opener) {
  const frame = app.run.frame;
  if (!frame) return;
  const kernel = () => weightArrays(/** @type {any} */ (app.run.frame))[layer];
  const bias = () => weightArrays(/** @type {any} */ (app.run.frame), "bias")[layer];
  const count = Math.min(kernel().shape[0], 16);
  const units = kernel().shape[1];
  /** @type {ReturnType<typeof row>[]} */
  const rows = [];
  if (bias())
    rows.push(
      row(
        word("bias"),
        () => bias().values[unit],
        (value) => change(layer, "bias", [unit], value),
      ),
    );
  for (let from = 0; from < count; from++) {
    rows.push(
      row(
        sourceName(layer, from),
        () => kernel().values[from * units + unit],
        (value) => change(layer, "kernel", [from, unit], value),
      ),
    );
  }
  const more = kernel().shape[0] - count;
  const canvas = element("canvas", { className: "card-map", ariaHidden: "true" });
  const content = [
    element("div", { className: "rows" }, ...rows.map((one) => one.node)),
    more ? element("p", { className: "note", textContent: word("more_weights", { count: more }) }) : null,
  ];
  const box = opener.getBoundingClientRect();
  const title = output
    ? word("output_label", { unit: unit + 1 })
    : word("unit_label", { layer: layer + 1, unit: unit + 1 });
  show(title, { clientX: box.right, clientY: box.top }, opener, [canvas, ...content.filter(Boolean)], () => {
    rows.forEach((one) => one.draw());
    const map = app.run.frame?.arrays[`unit/${layer}/${unit}`] ?? (output ? app.run.frame?.arrays.output : undefined);
    if (map) drawMap(canvas, map);
    else if (isImage()) drawMap(canvas, receptive(paths(weightArrays(/** @type {any} */ (app.run.frame)))[layer], unit));
    else canvas.hidden = true;
  });
}
