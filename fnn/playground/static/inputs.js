/** The inputs of the network: features of the plane to choose from, columns of a table, or the pixels of an image. */
import { app } from "./app.js";
import { byId, element } from "./dom.js";
import { FEATURES, featureMap, featureName } from "./features.js";
import { drawMap } from "./maps.js";
import { word } from "./words.js";

/** Data sets of images of digits, from the largest. */
export const IMAGES = ["mnist", "digits"];

/** The names of the inputs of the active run. @returns {string[]} */
export const inputs = () => app.run.built?.inputs ?? app.settings.features;
export const isImage = () => IMAGES.includes(app.settings.data.name);
export const onPlane = () => !isImage() && app.settings.data.name !== "csv";

/**
 * The column of inputs; returns the canvases of those whose maps come from the server.
 * @param {HTMLElement} stage
 * @param {import("./geometry.js").Column} column
 * @param {string[]} shown
 * @returns {HTMLCanvasElement[]}
 */
export function buildInputs(stage, column, shown) {
  /** @type {HTMLCanvasElement[]} */
  const columns = [];
  const title = element("div", { className: "column-title", word: isImage() ? "pixels" : "features" });
  title.style.left = `${column.x}px`;
  stage.append(title);
  if (column.kind === "pixels") {
    const [first] = column.places;
    const side = Math.sqrt(column.count) * first.size;
    const canvas = element("canvas", { id: "pixels", className: "pixels", role: "img", label: "pixels_label" });
    Object.assign(canvas.style, {
      left: `${first.x - first.size / 2}px`,
      top: `${first.y - first.size / 2}px`,
      width: `${side}px`,
      height: `${side}px`,
    });
    stage.append(canvas);
    return columns;
  }
  shown.forEach((name, index) => {
    const place = column.places[index];
    const on = inputs().includes(name);
    const canvas = element("canvas", { ariaHidden: "true" });
    const button = element(
      "button",
      {
        className: "unit feature",
        id: `feature-${index}`,
        ariaPressed: String(on),
        title: featureName(name),
        disabled: !onPlane(),
        on: { click: () => toggleFeature(name) },
      },
      element("span", { className: "name", textContent: featureName(name) }),
      canvas,
    );
    button.setAttribute("aria-label", word("feature_label", { name: featureName(name) }));
    position(button, place);
    stage.append(button);
    const map = featureMap(name);
    if (map) drawMap(canvas, map);
    else columns.push(canvas);
  });
  return columns;
}

/** @param {string} name */
function toggleFeature(name) {
  const on = app.settings.features.includes(name);
  if (on && app.settings.features.length === 1) {
    app.emit("problem", new Error(word("one_feature")));
    return;
  }
  const index = FEATURES.indexOf(name);
  app
    .change((settings) => {
      settings.features = FEATURES.filter((one) => (one === name ? !on : settings.features.includes(one)));
    })
    .then(() => byId(`feature-${index}`)?.focus());
}

/** @param {HTMLElement} node @param {import("./geometry.js").Place} place */
export function position(node, place) {
  const half = place.size / 2;
  Object.assign(node.style, {
    left: `${place.x - half}px`,
    top: `${place.y - half}px`,
    width: `${place.size}px`,
    height: `${place.size}px`,
  });
}
