/** Points drawn by hand on the map of the output. */
import { app } from "./app.js";
import { byId, element } from "./dom.js";
import { RANGE, drawPoints, drawSymbol, CLASSES, SYMBOLS } from "./maps.js";
import { classMark, pad } from "./output.js";
import { word } from "./words.js";

/** @type {[number, number, number][]} x1, x2 and class */
let points = [];
/** What was sent from here; what comes back later than the next point must not take that away. */
const sent = new Set();
let brush = 0;
const ERASER = 3;
let active = false;
let down = false;
/** @type {[number, number]} where the keys have moved the cross */
let cross = [0, 0];
let last = [0, 0];
/** @type {HTMLElement} */
let box;

export function buildBrushes() {
  const brushes = ["class_a", "class_b", "class_c", "erase"].map((name, index) =>
    element(
      "label",
      { className: "check" },
      element("input", {
        type: "radio",
        name: "brush",
        id: `brush-${index}`,
        checked: index === 0,
        on: {
          change: () => {
            brush = index;
          },
        },
      }),
      index < ERASER ? classMark("", index) : null,
      element("span", { word: name }),
    ),
  );
  box = element(
    "fieldset",
    { className: "own", id: "points-panel", hidden: true },
    element("legend", { word: "draw_with" }),
    ...brushes,
    element("p", { className: "note", word: "points_note" }),
    element("button", {
      id: "clear-points",
      word: "clear",
      on: {
        click: () => {
          points = [];
          draw();
        },
      },
    }),
    element("p", { className: "note", id: "points-count" }),
  );
  document.addEventListener("pointerdown", pressed);
  document.addEventListener("pointermove", moved);
  document.addEventListener("pointerup", () => {
    if (down) {
      down = false;
      send();
    }
  });
  document.addEventListener("keydown", keyed);
  app.on("frame", () => {
    if (active) draw();
  });
  return box;
}

/** Begin to draw; points drawn before come back. */
export function startPoints() {
  active = true;
  const { data } = app.settings;
  if (data.name === "points") return;
  if (points.length >= 2) send();
  else draw();
}

/** @param {boolean} on */
export function showBrushes(on) {
  active = on;
  box.hidden = !on;
  const { data } = app.settings;
  if (on && data.name === "points" && !sent.has(JSON.stringify([data.x, data.y]))) {
    points = data.x.map((/** @type {number[]} */ row, /** @type {number} */ index) => [row[0], row[1], data.y[index]]);
  }
  const canvas = pad();
  if (canvas) {
    canvas.tabIndex = on ? 0 : -1;
    canvas.classList.toggle("drawing", on);
    canvas.setAttribute("aria-hidden", String(!on));
    canvas.setAttribute("role", "application");
    canvas.setAttribute("aria-label", word("pad_label"));
  }
  count();
}

function count() {
  byId("points-count") && (byId("points-count").textContent = word("points_count", { count: points.length }));
}

/** The square on which points are drawn; those of an address may lie farther out. @returns {number[]} */
const range = () => (app.settings.data.name === "points" && app.run.built?.domain) || [-RANGE, RANGE, -RANGE, RANGE];

/** @param {PointerEvent} event @returns {[number, number]} */
function placeOf(event) {
  const canvas = /** @type {HTMLCanvasElement} */ (pad());
  const side = canvas.getBoundingClientRect();
  const [left, right, bottom, top] = range();
  return [
    left + ((right - left) * (event.clientX - side.left)) / side.width,
    top - ((top - bottom) * (event.clientY - side.top)) / side.height,
  ];
}

/** @param {PointerEvent} event */
function pressed(event) {
  if (!active || event.target !== pad()) return;
  event.preventDefault();
  /** @type {any} */ (pad()).focus();
  down = true;
  put(placeOf(event));
}

/** @param {PointerEvent} event */
function moved(event) {
  if (!down) return;
  const place = placeOf(event);
  if (Math.hypot(place[0] - last[0], place[1] - last[1]) > 0.35) put(place);
}

/** Add a point with the brush, or erase what is near. @param {[number, number]} place */
function put(place) {
  last = place;
  if (Math.max(Math.abs(place[0]), Math.abs(place[1])) > RANGE) return;
  const round = (/** @type {number} */ value) => Math.round(1000 * value) / 1000;
  if (brush === ERASER) points = points.filter((point) => Math.hypot(point[0] - place[0], point[1] - place[1]) > 0.4);
  else if (points.length < app.hello.limits.points[1]) points.push([round(place[0]), round(place[1]), brush]);
  draw();
}

/** @param {KeyboardEvent} event */
function keyed(event) {
  if (!active || event.target !== pad()) return;
  const moves = { ArrowLeft: [-0.3, 0], ArrowRight: [0.3, 0], ArrowUp: [0, 0.3], ArrowDown: [0, -0.3] }[event.key];
  if (moves) cross = [bounded(cross[0] + moves[0]), bounded(cross[1] + moves[1])];
  else if (event.key === "Enter" || event.key === " ") {
    put(cross);
    send();
  } else return;
  event.preventDefault();
  event.stopPropagation();
  draw();
}

/** @param {number} value */
const bounded = (value) => Math.max(-RANGE, Math.min(RANGE, value));

function draw() {
  const canvas = pad();
  if (!canvas) return;
  drawPoints(canvas, [{ rows: points.flat(), test: false }], { classes: 3, low: 0, high: 1, range: range() });
  count();
  if (document.activeElement !== canvas || down) return;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const x = ((cross[0] + RANGE) / (2 * RANGE)) * canvas.clientWidth;
  const y = ((RANGE - cross[1]) / (2 * RANGE)) * canvas.clientHeight;
  context.lineWidth = 1.5;
  context.strokeStyle = "#888";
  context.fillStyle = brush === ERASER ? "#888" : CLASSES[brush];
  drawSymbol(context, "plus", x, y, 9);
  drawSymbol(context, brush === ERASER ? "circle" : SYMBOLS[brush], x, y, 3);
}

/** Train on the points as soon as there are two classes. */
function send() {
  if (new Set(points.map((point) => point[2])).size < 2) return;
  const x = points.map(([a, b]) => [a, b]);
  const y = points.map((point) => point[2]);
  sent.add(JSON.stringify([x, y]));
  app.change((settings) => {
    settings.data = { name: "points", x, y, train: settings.data.train ?? 0.5 };
  });
}
