/** The left column: which data, how many, how noisy; a file of one's own, or points drawn by hand. */
import { app } from "./app.js";
import { newSeed } from "./controls.js";
import { byId, element, field, select, slider } from "./dom.js";
import { IMAGES, isImage } from "./inputs.js";
import { drawSymbol, sharp, colorAt, theme } from "./maps.js";
import { newLayer } from "./settings.js";
import { buildBrushes, showBrushes, startPoints } from "./points.js";
import { percent, word } from "./words.js";

/** Rough pictures of the data sets: x1, x2 and target between -1 and 1, all within the unit square around 0. */
const SAMPLES = {
  circles: (/** @type {number} */ i) => (i % 2 ? ring(i, 0.85, -1) : ring(i, 0.35 * Math.sqrt((i % 17) / 17), 1)),
  xor: (/** @type {number} */ i) => {
    const [a, b] = scatter(i);
    return [0.9 * a + 0.08 * Math.sign(a), 0.9 * b + 0.08 * Math.sign(b), Math.sign(a * b)];
  },
  gaussians: (/** @type {number} */ i) => {
    const [a, b] = scatter(i);
    const y = i % 2 ? 1 : -1;
    return [0.45 * y + 0.45 * a * Math.abs(b), 0.45 * y + 0.45 * b, y];
  },
  spiral: (/** @type {number} */ i) => {
    const y = i % 2 ? 1 : -1;
    const r = 0.03 + 0.9 * (i / 90);
    return [y * r * Math.sin(7.5 * r), y * r * Math.cos(7.5 * r), y];
  },
  plane: (/** @type {number} */ i) => {
    const [a, b] = scatter(i);
    return [0.95 * a, 0.95 * b, (a + b) / 1.6];
  },
  multi_gaussian: (/** @type {number} */ i) => {
    const [a, b] = scatter(i);
    return [
      0.95 * a,
      0.95 * b,
      Math.exp(-6 * ((Math.abs(a) - 0.55) ** 2 + (Math.abs(b) - 0.5) ** 2)) * Math.sign(a * b) * 1.2,
    ];
  },
};
const OWN = ["points", "csv", "digits"];
/** Rows of the data sets of images, at most, in steps of the slider. @type {Object<string, number>} */
const IMAGE_ROWS = { mnist: 5000, digits: 1750 };

/** @param {number} i @param {number} r @param {number} y */
const ring = (i, r, y) => [r * Math.cos(2.4 * i), r * Math.sin(2.4 * i), y];
/** @param {number} i points that fill the square evenly */
const scatter = (i) => [2 * ((0.5 + 0.7549 * i) % 1) - 1, 2 * ((0.5 + 0.5698 * i) % 1) - 1];

/** @type {{[name: string]: any}} */
const parts = {};

export function setUpData() {
  const panel = byId("data-panel");
  const group = element("div", { className: "thumbs", role: "group", label: "data_sets" });
  for (const name of [...Object.keys(SAMPLES), ...OWN]) group.append(thumb(name));
  parts.train = slider(
    { name: "train_ratio", min: 0.1, max: 0.9, step: 0.1, id: "train-ratio", shown: percent },
    (value) =>
      app.change((settings) => {
        settings.data.train = value;
      }),
  );
  parts.noise = slider({ name: "noise", min: 0, max: 0.5, step: 0.05, id: "noise", shown: percent }, (value) =>
    app.change((settings) => {
      settings.data.noise = value;
    }),
  );
  parts.size = slider({ name: "rows", min: 50, max: 2000, step: 50, id: "rows" }, (value) =>
    app.change((settings) => {
      settings.data.size = value;
    }),
  );
  parts.batch = element("input", {
    type: "number",
    id: "batch-size",
    min: 1,
    max: app.hello.limits.batch_size[1],
    step: 1,
    required: true,
    on: {
      change: () => {
        if (!parts.batch.reportValidity()) return;
        app.change((settings) => {
          settings.batch_size = Number(parts.batch.value);
        });
      },
    },
  });
  parts.images = select(
    IMAGES.map((name) => [name, `images_${name}`]),
    (name) => chooseImages(name),
    { id: "image-size" },
  );
  parts.images.options[0].disabled = !app.hello.mnist;
  parts.imageField = field("image_size", parts.images);
  parts.absent = element("p", { className: "note", id: "mnist-absent", word: "mnist_absent" });
  const file = element("input", {
    type: "file",
    id: "csv-file",
    accept: ".csv,.txt,text/csv",
    label: "csv_file",
    on: {
      change: () => {
        if (file.files[0]) readCsv(file.files[0]);
        file.value = "";
      },
    },
  });
  parts.csv = element(
    "div",
    { id: "csv-panel", className: "own" },
    element("p", { className: "note", word: "csv_note" }),
    element("label", { className: "file" }, element("span", { word: "csv_choose" }), file),
    element("p", { id: "csv-name", className: "note" }),
  );
  parts.brushes = buildBrushes();
  panel.append(
    group,
    parts.csv,
    parts.brushes,
    parts.imageField,
    parts.absent,
    parts.train.node,
    parts.noise.node,
    parts.size.node,
    field("batch_size", parts.batch, "net"),
    element("button", { id: "regenerate", word: "regenerate", on: { click: () => newSeed() } }),
  );
  setUpDrop();
  for (const event of /** @type {const} */ (["settings", "runs", "language"])) app.on(event, show);
  app.on("theme", drawThumbs);
  drawThumbs();
}

/** @param {string} name */
function thumb(name) {
  return element(
    "button",
    { id: `data-${name}`, className: "thumb", ariaPressed: "false", on: { click: () => choose(name) } },
    element("canvas", { ariaHidden: "true" }),
    element("span", { word: `data_${name}` }),
  );
}

/** @param {string} name */
export function choose(name) {
  parts.asked = name;
  if (name === "csv") {
    show();
    if (app.settings.data.name !== "csv") byId("csv-file").focus();
    return;
  }
  if (name === "points") {
    // Points are drawn on the map of the usual square, which digits and files lack.
    if (isImage() || app.settings.data.name === "csv") {
      app.change((settings) => {
        settings.data = { name: "circles", size: 500, noise: 0, train: settings.data.train ?? 0.5 };
      });
    }
    startPoints();
    show();
    return;
  }
  parts.asked = "";
  if (name === "digits") {
    chooseImages(app.hello.mnist ? "mnist" : "digits");
    return;
  }
  const images = isImage();
  app.change((settings) => {
    const { size = 500, noise = 0, train = 0.5 } = settings.data;
    settings.data = images ? { name, size: 500, noise: 0, train: 0.5 } : { name, size, noise, train };
  });
}

/** Train a network for digits on images of one size. @param {string} name */
function chooseImages(name) {
  app.change((settings) => {
    settings.data = { name, size: IMAGE_ROWS[name], noise: 0, train: 0.8 };
    const optimizer = { name: "adam", learning_rate: 0.003 };
    Object.assign(settings, { kind: "network", layers: [newLayer(32, "relu")], optimizer, batch_size: 32 });
  });
}

function show() {
  const { data } = app.settings;
  if (app.run?.built && data.name === parts.asked) parts.asked = "";
  const shown = parts.asked || (isImage() ? "digits" : data.name);
  for (const name of [...Object.keys(SAMPLES), ...OWN])
    byId(`data-${name}`).setAttribute("aria-pressed", String(name === shown));
  parts.csv.hidden = shown !== "csv";
  showBrushes(shown === "points");
  const made = !OWN.includes(shown);
  parts.noise.node.hidden = !made;
  const images = shown === "digits";
  parts.size.node.hidden = !made && !images;
  parts.size.input.max = images ? IMAGE_ROWS[data.name] ?? 50 : app.hello.limits.size[1];
  parts.imageField.hidden = !images;
  parts.absent.hidden = !images || app.hello.mnist;
  parts.images.value = data.name;
  if (document.activeElement !== parts.batch) parts.batch.value = String(app.settings.batch_size);
  parts.train.set(data.train ?? 0.5);
  parts.noise.set(data.noise ?? 0);
  parts.size.set(data.size ?? 500);
  byId("csv-name").textContent =
    data.name === "csv"
      ? word("csv_read", { rows: data.text.trim().split("\n").length, columns: app.run?.built?.inputs?.length ?? 0 })
      : "";
}

/** Read a CSV file and train on it. @param {File} file */
export async function readCsv(file) {
  const most = app.hello.limits.csv_bytes[1];
  if (file.size > most) {
    app.emit(
      "problem",
      new Error(word("csv_large", { size: Math.ceil(file.size / 1000), most: Math.floor(most / 1000) })),
    );
    return;
  }
  const text = await file.text();
  parts.asked = "csv";
  await app.change((settings) => {
    settings.kind = "network";
    settings.data = { name: "csv", text, train: settings.data.train ?? 0.5 };
  });
  show();
}

/** A file may be dropped anywhere on the page. */
function setUpDrop() {
  const over = (/** @type {boolean} */ on) => document.body.classList.toggle("dropping", on);
  document.addEventListener("dragover", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    over(true);
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) over(false);
  });
  document.addEventListener("drop", (event) => {
    over(false);
    const file = event.dataTransfer?.files[0];
    if (!file) return;
    event.preventDefault();
    readCsv(file);
  });
}

function drawThumbs() {
  for (const [name, sample] of Object.entries(SAMPLES)) {
    const canvas = byId(`data-${name}`).querySelector("canvas");
    const { context, width, height } = sharp(canvas);
    const regression = name === "plane" || name === "multi_gaussian";
    for (let i = 0; i < 90; i++) {
      const [a, b, y] = sample(i);
      context.fillStyle = colorAt("diverging", 0.5 + y / 2);
      context.strokeStyle = "transparent";
      drawSymbol(context, "circle", width * (0.5 + 0.47 * a), height * (0.5 - 0.47 * b), regression ? 2.2 : 1.6);
    }
  }
  drawOwn();
}

/** Signs for one's own data: a pencil's trace, a table, a digit. */
function drawOwn() {
  const ink = theme() === "dark" ? "#c8d0da" : "#4a5561";
  const start = (/** @type {string} */ name) => {
    const { context, width, height } = sharp(byId(`data-${name}`).querySelector("canvas"));
    Object.assign(context, { strokeStyle: ink, fillStyle: ink, lineWidth: 1.6, lineCap: "round" });
    context.setTransform(context.getTransform().scale(width / 48, height / 48));
    return context;
  };
  const points = start("points");
  points.setLineDash([1, 6]);
  points.lineWidth = 4;
  points.strokeStyle = colorAt("diverging", 1);
  points.stroke(new Path2D("M8 38C14 12 28 44 40 10"));
  points.strokeStyle = colorAt("diverging", 0);
  points.stroke(new Path2D("M8 14h14M28 40h12"));
  start("csv").stroke(new Path2D("M8 10h32v28H8zM8 19h32M8 28.500h32M19 10v28M29.500 10v28"));
  const digit = start("digits");
  digit.lineWidth = 5;
  digit.lineJoin = "round";
  digit.stroke(new Path2D("M15 14C20 8 33 9 32 18 31 23 24 24 22 24 28 24 34 27 33 33 31 41 17 41 14 35"));
}
