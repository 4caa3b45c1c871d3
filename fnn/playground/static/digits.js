/** A digit drawn by hand, and what the network takes it for. */
import { app } from "./app.js";
import { byId, element } from "./dom.js";
import { colorAt, drawMap, sharp, theme } from "./maps.js";
import { word } from "./words.js";

/** Dots of the pen for each pixel of the network's image, across and down. */
const DOTS = 4;
/** Half the width of the pen, in dots. */
const PEN = 2.8;

let side = 8;
/** 1 where the pen was. */
let ink = new Uint8Array((DOTS * side) ** 2);
let cursor = [4, 4];
/** @type {[number, number]|null} the last place of the pen while it is down */
let last = null;
let asking = false;
let changed = false;

export function setUpDigits() {
  const canvas = element("canvas", {
    id: "digit-pad",
    className: "digit-pad",
    tabIndex: 0,
    label: "digit_pad",
    role: "application",
    on: {
      pointerdown: (/** @type {PointerEvent} */ event) => {
        canvas.setPointerCapture(event.pointerId);
        last = null;
        stroke(event);
      },
      pointermove: (/** @type {PointerEvent} */ event) => {
        if (last) stroke(event);
      },
      pointerup: () => {
        last = null;
      },
      keydown: keyed,
      focus: draw,
      blur: draw,
    },
  });
  const bars = element("ol", { id: "digit-bars", className: "bars", label: "digit_bars" });
  byId("output-extra").prepend(
    element(
      "div",
      { id: "digit-panel", hidden: true },
      element("p", { className: "note", word: "digit_note" }),
      element("div", { className: "digit" }, canvas, bars),
      element(
        "div",
        { className: "digit-below" },
        element("button", { id: "digit-clear", word: "clear", on: { click: clear } }),
        element("span", { className: "note", word: "digit_seen" }),
        element("canvas", { id: "digit-seen", role: "img", label: "digit_seen" }),
      ),
      element("p", { id: "digit-answer", ariaLive: "polite" }),
    ),
  );
  for (const event of /** @type {const} */ (["settings", "runs", "theme", "language"])) app.on(event, show);
  app.on("frame", (run) => {
    if (run === app.run && !byId("digit-panel").hidden) ask();
  });
}

function show() {
  const on = app.settings.data.name === "digits" && app.settings.kind === "network";
  byId("digit-panel").hidden = !on;
  byId("main").classList.toggle("image", on);
  if (!on) return;
  const count = app.run.built?.inputs?.length ?? 64;
  if (count !== side ** 2) {
    side = Math.round(Math.sqrt(count));
    clear();
  }
  draw();
  ask();
}

function clear() {
  ink = new Uint8Array((DOTS * side) ** 2);
  draw();
  ask();
}

/** Draw from the last place of the pen to this one. @param {PointerEvent} event */
function stroke(event) {
  const box = byId("digit-pad").getBoundingClientRect();
  const size = DOTS * side;
  /** @type {[number, number]} */
  const place = [((event.clientX - box.left) / box.width) * size, ((event.clientY - box.top) / box.height) * size];
  const from = last ?? place;
  const steps = Math.ceil(Math.hypot(place[0] - from[0], place[1] - from[1])) + 1;
  for (let step = 1; step <= steps; step++) {
    press(from[0] + ((place[0] - from[0]) * step) / steps, from[1] + ((place[1] - from[1]) * step) / steps);
  }
  last = place;
  draw();
  ask();
}

/** @param {number} x @param {number} y in dots */
function press(x, y) {
  const size = DOTS * side;
  for (let row = Math.max(0, Math.floor(y - PEN)); row < Math.min(size, y + PEN); row++) {
    for (let column = Math.max(0, Math.floor(x - PEN)); column < Math.min(size, x + PEN); column++) {
      if (Math.hypot(row + 0.5 - y, column + 0.5 - x) <= PEN) ink[row * size + column] = 1;
    }
  }
}

/** The drawing as the data's images were made: cut out, made as large as the field, and counted by pixels. */
function image() {
  const size = DOTS * side;
  const rows = [];
  const columns = [];
  for (let dot = 0; dot < ink.length; dot++) {
    if (!ink[dot]) continue;
    rows.push(Math.floor(dot / size));
    columns.push(dot % size);
  }
  const pixels = new Float32Array(side * side);
  if (!rows.length) return pixels;
  const [top, bottom, left, right] = [
    Math.min(...rows),
    Math.max(...rows) + 1,
    Math.min(...columns),
    Math.max(...columns) + 1,
  ];
  const scale = Math.max(bottom - top, right - left) / size;
  for (let dot = 0; dot < size * size; dot++) {
    const row = Math.floor((top + bottom) / 2 + (Math.floor(dot / size) + 0.5 - size / 2) * scale);
    const column = Math.floor((left + right) / 2 + ((dot % size) + 0.5 - size / 2) * scale);
    if (row < 0 || column < 0 || row >= size || column >= size || !ink[row * size + column]) continue;
    pixels[Math.floor(dot / size / DOTS) * side + Math.floor((dot % size) / DOTS)] += 1 / DOTS ** 2;
  }
  return pixels;
}

/** @param {KeyboardEvent} event */
function keyed(event) {
  const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (move) cursor = cursor.map((value, index) => Math.max(0, Math.min(side - 1, value + move[index])));
  else if (event.key === " " || event.key === "Enter") {
    press((cursor[0] + 0.5) * DOTS, (cursor[1] + 0.5) * DOTS);
    ask();
  } else return;
  event.preventDefault();
  event.stopPropagation();
  draw();
}

function draw() {
  const canvas = byId("digit-pad");
  if (byId("digit-panel").hidden) return;
  const { context, width } = sharp(canvas);
  const size = width / side;
  const dots = DOTS * side;
  context.fillStyle = theme() === "dark" ? "#000" : "#fff";
  context.fillRect(0, 0, width, width);
  context.fillStyle = theme() === "dark" ? "#fff" : "#000";
  for (let dot = 0; dot < ink.length; dot++) {
    if (!ink[dot]) continue;
    context.fillRect(
      ((dot % dots) * width) / dots,
      (Math.floor(dot / dots) * width) / dots,
      Math.ceil(width / dots),
      Math.ceil(width / dots),
    );
  }
  drawMap(
    byId("digit-seen"),
    { shape: [side, side], values: Uint8Array.from(image(), (level) => 255 * level) },
    "sequential",
  );
  if (document.activeElement !== canvas) return;
  context.strokeStyle = "#e88010";
  context.lineWidth = 2;
  context.strokeRect(cursor[0] * size + 1, cursor[1] * size + 1, size - 2, size - 2);
}

/** Ask for the classes' probabilities, one question at a time. */
async function ask() {
  changed = true;
  if (asking) return;
  asking = true;
  while (changed) {
    changed = false;
    if (!app.run.frame || !ink.includes(1)) {
      showBars([]);
      continue;
    }
    const answer = await app.run.ask("predict", { x: Array.from(image()) });
    showBars(answer?.probabilities ?? []);
  }
  asking = false;
}

/** @param {number[]} probabilities */
function showBars(probabilities) {
  const names = app.run.built?.classes ?? [];
  const box = byId("digit-bars");
  while (box.children.length > names.length) box.lastChild?.remove();
  while (box.children.length < names.length) {
    box.append(element("li", {}, element("b", {}), element("span", { className: "bar" }), element("output", {})));
  }
  const best = probabilities.indexOf(Math.max(...probabilities));
  names.forEach((/** @type {any} */ name, /** @type {number} */ index) => {
    const item = /** @type {HTMLElement} */ (box.children[index]);
    const [label, bar, number] = /** @type {any} */ (item.children);
    const value = probabilities[index] ?? 0;
    label.textContent = String(name);
    bar.style.setProperty("--part", String(value));
    number.textContent = probabilities.length ? `${Math.round(100 * value)} %` : "";
    item.classList.toggle("best", index === best);
    const tile = byId(`unit-${app.settings.layers.length}-${index}`);
    if (tile) tile.style.background = probabilities.length ? colorAt("sequential", value) : "";
  });
  byId("digit-answer").textContent =
    best >= 0 && probabilities.length ? word("digit_answer", { name: names[best] }) : "";
}
