/** Save what is seen as a picture, or record it as an animation. */
import { app } from "./app.js";
import { byId, download } from "./dom.js";
import { short } from "./inspect.js";
import { word } from "./words.js";

/** @type {{recorder: MediaRecorder, canvas: HTMLCanvasElement}|null} */
let recording = null;

export function setUpPicture() {
  byId("picture").addEventListener("click", () => savePicture());
  byId("record").addEventListener("click", () => toggleRecording());
  byId("record").hidden = typeof MediaRecorder === "undefined";
  app.on("frame", (run) => {
    if (recording && run === app.run) paint(recording.canvas, 1);
  });
}

const MARGIN = 16;
const TEXTS = [
  "h2",
  "output",
  ".column-title",
  ".name",
  "#layers-number",
  ".layer-head .counter span",
  ".layer-head select",
  ".extra",
  ".gradient span",
  ".classes span",
  "figcaption",
].join(", ");

/** What is painted: the network and the output, or whatever stands in their place. */
function parts() {
  return [".network", ".output"]
    .map((name) => /** @type {HTMLElement} */ (document.querySelector(name)))
    .filter((node) => node.clientWidth);
}

/** The rectangle around the parts and a margin, in coordinates of the window. */
function frameOf() {
  const boxes = parts().map((node) => node.getBoundingClientRect());
  const left = Math.min(...boxes.map((box) => box.left)) - MARGIN;
  const top = Math.min(...boxes.map((box) => box.top)) - MARGIN;
  const width = Math.max(...boxes.map((box) => box.right)) + MARGIN - left;
  return { left, top, width, height: Math.max(...boxes.map((box) => box.bottom)) + MARGIN - top };
}

/**
 * Paint lines, maps and texts onto one canvas, as they stand on the page.
 * @param {HTMLCanvasElement} canvas @param {number} scale
 */
function paint(canvas, scale) {
  const { left, top, width, height } = frameOf();
  const sides = [2 * Math.ceil((width * scale) / 2), 2 * Math.ceil(((height + 36) * scale) / 2)];
  if (canvas.width !== sides[0] || canvas.height !== sides[1]) [canvas.width, canvas.height] = sides;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const styles = getComputedStyle(document.body);
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.fillStyle = styles.backgroundColor;
  context.fillRect(0, 0, width, height + 36);
  context.translate(-left, 36 - top);
  context.fillStyle = styles.color;
  context.font = "600 15px system-ui, sans-serif";
  context.textBaseline = "middle";
  context.fillText(caption(), left + MARGIN, top - 12);
  for (const part of parts()) {
    for (const path of part.querySelectorAll("svg path")) paintPath(context, /** @type {SVGPathElement} */ (path));
    for (const node of part.querySelectorAll("canvas")) paintCanvas(context, node);
    paintTexts(context, part);
  }
}

function caption() {
  const { frame, settings } = app.run;
  if (!frame) return "fnn";
  return (
    `${word("epoch")} ${frame.epoch} · ${word("train_loss")} ${short(frame.loss?.train ?? NaN)} · ` +
    `${word("test_loss")} ${short(frame.loss?.test ?? NaN)} · ${settings?.optimizer.name}`
  );
}

/** @param {CanvasRenderingContext2D} context @param {SVGPathElement} path */
function paintPath(context, path) {
  const style = getComputedStyle(path);
  const box = /** @type {SVGElement} */ (path.ownerSVGElement).getBoundingClientRect();
  if (style.stroke === "none" || !box.width || !path.closest("#network")) return;
  context.save();
  context.translate(box.left, box.top);
  context.strokeStyle = style.stroke;
  context.globalAlpha = Number(style.strokeOpacity || 1);
  context.lineWidth = parseFloat(style.strokeWidth);
  context.setLineDash(style.strokeDasharray === "none" ? [] : style.strokeDasharray.split(",").map(parseFloat));
  context.stroke(new Path2D(path.getAttribute("d") ?? ""));
  context.restore();
}

/** @param {CanvasRenderingContext2D} context @param {HTMLCanvasElement} node */
function paintCanvas(context, node) {
  const box = node.getBoundingClientRect();
  if (!box.width || !node.width) return;
  context.imageSmoothingEnabled = true;
  context.globalAlpha = Number(getComputedStyle(node).opacity);
  context.drawImage(node, box.left, box.top, box.width, box.height);
  context.globalAlpha = 1;
}

/** The texts of a part, each where it stands. @param {CanvasRenderingContext2D} context @param {HTMLElement} part */
function paintTexts(context, part) {
  for (const node of part.querySelectorAll(TEXTS)) {
    const box = node.getBoundingClientRect();
    const text = textOf(node);
    if (!text || !box.width) continue;
    const style = getComputedStyle(node);
    context.fillStyle = style.color;
    context.font = `${style.fontWeight} ${style.fontSize} system-ui, sans-serif`;
    const centred = node.closest(".layer-head");
    context.textAlign = centred ? "center" : style.textAlign === "right" ? "right" : "left";
    const mark = node.querySelector("canvas")?.getBoundingClientRect().width ?? -4;
    const x = centred ? (box.left + box.right) / 2 : context.textAlign === "right" ? box.right : box.left + mark + 4;
    context.fillText(text, x, box.top + box.height / 2);
  }
  context.textAlign = "left";
  for (const node of part.querySelectorAll(".key")) {
    const box = node.getBoundingClientRect();
    const style = getComputedStyle(node);
    context.strokeStyle = style.borderTopColor;
    context.lineWidth = 3;
    context.setLineDash(style.borderTopStyle === "dashed" ? [6, 3] : []);
    context.beginPath();
    context.moveTo(box.left, box.top + 1.5);
    context.lineTo(box.right, box.top + 1.5);
    context.stroke();
    context.setLineDash([]);
  }
}

/** The text of an element itself, without that of its children. @param {Element} node */
function textOf(node) {
  if (node instanceof HTMLSelectElement) return node.selectedOptions[0]?.text ?? "";
  const own = [...node.childNodes].filter((child) => child.nodeType === Node.TEXT_NODE);
  return own
    .map((child) => child.textContent)
    .join("")
    .trim();
}

function savePicture() {
  const canvas = document.createElement("canvas");
  paint(canvas, 2);
  canvas.toBlob((blob) => {
    if (blob) download(blob, "fnn-playground.png");
  });
}

function toggleRecording() {
  const button = byId("record");
  if (recording) {
    recording.recorder.stop();
    recording = null;
  } else {
    const canvas = document.createElement("canvas");
    paint(canvas, 1);
    const type = ["video/webm;codecs=vp9", "video/webm", "video/mp4"].find((one) => MediaRecorder.isTypeSupported(one));
    const recorder = new MediaRecorder(canvas.captureStream(25), { mimeType: type, videoBitsPerSecond: 4_000_000 });
    /** @type {Blob[]} */
    const pieces = [];
    recorder.addEventListener("dataavailable", (event) => pieces.push(event.data));
    recorder.addEventListener("stop", () =>
      download(
        new Blob(pieces, { type: recorder.mimeType }),
        `fnn-playground.${recorder.mimeType.includes("mp4") ? "mp4" : "webm"}`,
      ),
    );
    recorder.start(500);
    recording = { recorder, canvas };
    paint(canvas, 1);
  }
  button.setAttribute("aria-pressed", String(Boolean(recording)));
  button.dataset.word = recording ? "record_stop" : "record";
  button.textContent = word(button.dataset.word);
}
