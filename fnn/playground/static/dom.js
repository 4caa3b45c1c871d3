/** Small helpers for building the page. */
import { language, number, word } from "./words.js";

/**
 * A new element. `word`, `label` and `hint` name texts of words.js, which follow the language; `on` holds listeners.
 * @param {string} name
 * @param {Object<string, any>} [attributes]
 * @param {...(Node|string|null)} children
 * @returns {any}
 */
export function element(name, attributes = {}, ...children) {
  const node = /** @type {any} */ (document.createElement(name));
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "on") for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    else if (key === "word" || key === "label" || key === "hint") node.dataset[key] = value;
    else if (key in node && key !== "list" && key !== "form") node[key] = value;
    else if (value !== false && value !== null) node.setAttribute(key, value === true ? "" : value);
  }
  translateOne(node);
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** @param {string} id @returns {any} */
export const byId = (id) => document.getElementById(id);

/** Write one element's texts in the language of the page. @param {HTMLElement} node */
function translateOne(node) {
  if (node.dataset.word) node.textContent = word(node.dataset.word);
  if (node.dataset.label) node.setAttribute("aria-label", word(node.dataset.label));
  if (node.dataset.hint) node.title = word(node.dataset.hint);
}

/** Write all texts below an element in the language of the page. @param {ParentNode} root */
export function translate(root) {
  for (const node of root.querySelectorAll("[data-word], [data-label], [data-hint]")) {
    translateOne(/** @type {HTMLElement} */ (node));
  }
}

/**
 * A select with labelled options.
 * @param {[string, string|null][]} options values, and words or null for the value itself
 * @param {(value: string) => void} changed @param {Object<string, any>} [attributes]
 */
export function select(options, changed, attributes = {}) {
  const node = element("select", { ...attributes, on: { change: () => changed(node.value) } });
  for (const [value, name] of options) {
    node.append(name ? element("option", { value, word: name }) : element("option", { value, textContent: value }));
  }
  return node;
}

/** A control below its name. @param {string} name a word @param {HTMLElement} control @param {string} [kind] a class */
export function field(name, control, kind = "") {
  return element("label", { className: `field ${kind}` }, element("span", { word: name }), control);
}

/**
 * A field for a number with decimals, written with the mark of the language; a dot is read too.
 * @param {{id?: string, min?: number, max?: number, label?: string}} attributes
 * @param {(value: number) => void} changed
 */
export function decimalField({ min = -1e6, max = 1e6, ...attributes }, changed) {
  const read = () => {
    const text = input.value.trim().replace("−", "-").replace(language() === "es" ? "," : ".", ".");
    const value = text ? Number(text) : NaN;
    const fits = value >= min && value <= max;
    input.setCustomValidity(fits ? "" : word("number_wanted", { low: min, high: max }));
    return fits ? value : NaN;
  };
  const input = element("input", {
    type: "text",
    inputMode: "decimal",
    autocomplete: "off",
    className: "decimal",
    ...attributes,
    on: {
      input: () => input.setCustomValidity(""),
      change: () => {
        const value = read();
        if (!input.reportValidity()) return;
        set(value, true);
        changed(value);
      },
    },
  });
  /** Show a value, unless the reader is typing. @param {number|string} value @param {boolean} [always] */
  function set(value, always = false) {
    if (always || document.activeElement !== input) input.value = number(value);
  }
  return { input, set };
}

/**
 * A slider with its value beside it.
 * @param {{name: string, min: number, max: number, step: number, id: string, shown?: (value: number) => string}} range
 * @param {(value: number) => void} changed called while the slider moves
 */
export function slider({ name, min, max, step, id, shown = number }, changed) {
  const output = element("output", { htmlFor: id });
  const input = element("input", {
    type: "range",
    id,
    min,
    max,
    step,
    on: {
      input: () => {
        show(Number(input.value));
        changed(Number(input.value));
      },
    },
  });
  const show = (/** @type {number} */ value) => {
    output.textContent = shown(value);
    input.setAttribute("aria-valuetext", shown(value));
  };
  const node = element(
    "label",
    { className: "field range", htmlFor: id },
    element("span", { className: "name" }, element("span", { word: name }), output),
    input,
  );
  return {
    node,
    input,
    /** @param {number} value */
    set(value) {
      if (document.activeElement !== input || Number(input.value) !== value) input.value = String(value);
      show(value);
    },
  };
}

/** A checkbox with its name. @param {string} name a word @param {string} id @param {(on: boolean) => void} changed */
export function checkbox(name, id, changed) {
  const input = element("input", { type: "checkbox", id, on: { change: () => changed(input.checked) } });
  return { node: element("label", { className: "check" }, input, element("span", { word: name })), input };
}

/** Call a function at most once per animation frame. @param {() => void} draw */
export function oncePerFrame(draw) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      draw();
    });
  };
}

/** Offer a file to the reader. @param {Blob} blob @param {string} name */
export function download(blob, name) {
  const address = URL.createObjectURL(blob);
  const link = element("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
