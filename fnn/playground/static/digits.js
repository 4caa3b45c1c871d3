/** A digit drawn by hand, and what the network takes it for. */
import { app } from "./app.js";
import { byId, element } from "./dom.js";
import { isImage } from "./inputs.js";
import { drawMap, sharp, theme } from "./maps.js";
import { percent, word } from "./words.js";

/** Width of the pen on the field, and the step of a key, as shares of the field. */
const PEN = 0.07;
const STEP = 0.1;
/** Places closer than this say no more about a line. */
const NEAR = 0.012;

/** @type {[number, number][][]} lines of the pen: places across and down, from 0 to 1 */
let strokes = [];
/** @type {[number, number]} where the keys have moved the pen */
let cursor = [0.5, 0.5];
let down = false;
/** Whether a line is drawn by keys, which then goes on with the next place. */
let byKeys = false;
let asking = false;
let changed = false;
/** @type {number[][]|null} what the network gets: the drawing as one of the images it learned from */
let image = null;

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
        down = true;
        byKeys = false;
        strokes.push([]);
        press(placeOf(event));
      },
      pointermove: (/** @type {PointerEvent} */ event) => {
        if (down) press(placeOf(event));
      },
      pointerup: lift,
      pointercancel: lift,
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
  const on = isImage() && app.settings.kind === "network";
  byId("digit-panel").hidden = !on;
  byId("main").classList.toggle("image", on);
  if (!on) return;
  draw();
  ask();
}

function lift() {
  down = false;
}

function clear() {
  strokes = [];
  lift();
  byKeys = false;
  draw();
  ask();
}

/** @param {PointerEvent} event @returns {[number, number]} */
function placeOf(event) {
  const box = byId("digit-pad").getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
}

/** Draw on to a place. @param {[number, number]} place */
function press(place) {
  const inside = /** @type {[number, number]} */ (place.map((one) => Math.round(1000 * Math.min(1, Math.max(0, one))) / 1000));
  const line = strokes[strokes.length - 1];
  const last = line[line.length - 1];
  if (last && Math.hypot(inside[0] - last[0], inside[1] - last[1]) < NEAR) return;
  const { strokes: lines, stroke: places } = app.hello.limits;
  if (strokes.length > lines[1] || strokes.flat().length >= places[1]) {
    if (!line.length) strokes.pop();
    return;
  }
  line.push(inside);
  draw();
  ask();
}

/** Arrow keys move, space draws on to where they moved. @param {KeyboardEvent} event */
function keyed(event) {
  const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (move) {
    cursor = /** @type {[number, number]} */ (
      cursor.map((one, index) => Math.max(0.1, Math.min(0.9, Math.round(10 * (one + STEP * move[index])) / 10)))
    );
  } else if (event.key === " " || event.key === "Enter") {
    const line = strokes[strokes.length - 1];
    const last = line?.[line.length - 1];
    // A line that was interrupted by more than one step ends.
    if (!byKeys || !last || Math.hypot(cursor[0] - last[0], cursor[1] - last[1]) > 1.5 * STEP) strokes.push([]);
    byKeys = true;
    press(cursor);
  } else return;
  event.preventDefault();
  event.stopPropagation();
  draw();
}

function draw() {
  const canvas = byId("digit-pad");
  if (byId("digit-panel").hidden) return;
  const { context, width } = sharp(canvas);
  const dark = theme() === "dark";
  context.fillStyle = dark ? "#000" : "#fff";
  context.fillRect(0, 0, width, width);
  context.strokeStyle = dark ? "#fff" : "#000";
  Object.assign(context, { lineWidth: PEN * width, lineCap: "round", lineJoin: "round" });
  for (const line of strokes) {
    context.beginPath();
    for (const [x, y] of [...line, line[line.length - 1]]) context.lineTo(x * width, y * width);
    context.stroke();
  }
  if (document.activeElement !== canvas || down) return;
  context.strokeStyle = "#e88010";
  context.lineWidth = 2;
  context.strokeRect((cursor[0] - STEP / 2) * width, (cursor[1] - STEP / 2) * width, STEP * width, STEP * width);
}

/** Ask for the classes' probabilities, one question at a time. */
async function ask() {
  changed = true;
  if (asking) return;
  asking = true;
  while (changed) {
    changed = false;
    const answer = app.run.frame && strokes.length ? await app.run.ask("predict", { strokes }) : null;
    image = strokes.length ? (answer?.image ?? image) : null;
    showImage();
    showBars(strokes.length ? (answer?.probabilities ?? []) : []);
  }
  asking = false;
}

function showImage() {
  const side = Math.round(Math.sqrt(app.run.built?.inputs?.length ?? 64));
  const levels = image?.flat() ?? new Array(side * side).fill(0);
  const shape = image ? [image.length, image.length] : [side, side];
  drawMap(byId("digit-seen"), { shape, values: Uint8Array.from(levels, (level) => 255 * level) }, "sequential");
}

/** @param {number[]} probabilities */
function showBars(probabilities) {
  const names = app.run.built?.classes ?? [];
  const box = byId("digit-bars");
  while (box.children.length > names.length) box.lastChild?.remove();
  while (box.children.length < names.length) {
    box.append(element("li", {}, element("b", {}), element("span", { className: "bar" }), element("output", {})));
  }
  const best = probabilities.length ? probabilities.indexOf(Math.max(...probabilities)) : -1;
  names.forEach((/** @type {any} */ name, /** @type {number} */ index) => {
    const item = /** @type {HTMLElement} */ (box.children[index]);
    const [label, bar, number] = /** @type {any} */ (item.children);
    const value = probabilities[index] ?? 0;
    label.textContent = String(name);
    bar.style.setProperty("--part", String(value));
    number.textContent = probabilities.length ? percent(value) : "";
    item.classList.toggle("best", index === best);
    byId(`unit-${app.settings.layers.length}-${index}`)?.classList.toggle("best", index === best);
  });
  byId("digit-answer").textContent = best >= 0 ? word("digit_answer", { name: names[best] }) : "";
}
