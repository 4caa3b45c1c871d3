/** The bar on top: play, step and reset, the problem, the optimizer and its hyper-parameters, the penalty. */
import { app } from "./app.js";
import { byId, decimalField, element, field, select } from "./dom.js";
import { number, word } from "./words.js";

const RATES = ["0.00001", "0.0001", "0.001", "0.003", "0.01", "0.03", "0.1", "0.3", "1", "3", "10"];
const PENALTY_RATES = ["0", "0.001", "0.003", "0.01", "0.03", "0.1", "0.3", "1", "3", "10"];

/** @type {{[name: string]: any}} */
const parts = {};
/** @type {ReturnType<typeof setTimeout>|undefined} */
let patience;
/** Names of the hyper-parameters that are shown, with the optimizer they belong to. */
let shownHypers = "";

export function setUpControls() {
  byId("play").addEventListener("click", () => togglePlay());
  byId("step").addEventListener("click", () => app.all((run) => run.step()));
  byId("reset").addEventListener("click", () => app.all((run) => run.reset()));
  fillFields();
  fillMore();
  app.on("settings", show);
  app.on("runs", show);
  app.on("language", show);
  app.on("playing", showPlaying);
  app.on("frame", watch);
  app.on("waiting", watch);
}

/** Play or pause all runs. */
export function togglePlay() {
  const playing = app.runs.some((run) => run.playing);
  return app.all((run) => (playing ? run.pause() : run.play()));
}

function fillFields() {
  const names = (/** @type {string[]} */ list) => list.map((name) => /** @type {[string, null]} */ ([name, null]));
  parts.kind = select(
    [
      ["network", "kind_network"],
      ["perceptron", "kind_perceptron"],
      ["formula", "kind_formula"],
    ],
    (value) => app.change((settings) => changeKind(settings, value)),
    { id: "kind" },
  );
  parts.optimizer = select(
    names(Object.keys(app.hello.optimizers)),
    (value) =>
      app.change((settings) => {
        settings.optimizer = { name: value };
      }),
    { id: "optimizer" },
  );
  parts.rate = decimalField({ id: "learning-rate", min: 0, max: 10 }, (value) => setHyper("learning_rate", value));
  parts.rates = element("datalist", { id: "learning-rate-choices" });
  parts.rate.input.setAttribute("list", parts.rates.id);
  parts.activation = select(
    [["", "mixed"], ...names(app.hello.activations)],
    (value) => {
      if (value)
        app.change((settings) =>
          settings.layers.forEach((layer) => {
            layer.activation = value;
          }),
        );
    },
    { id: "activation" },
  );
  parts.penalty = select(
    [
      ["none", "none"],
      ["l1", "l1"],
      ["l2", "l2"],
    ],
    (kind) => {
      setPenalty({ kind, rate: app.settings.penalty.rate || (kind === "none" ? 0 : 0.001) });
    },
    { id: "penalty" },
  );
  parts.penaltyRate = select(
    names(PENALTY_RATES),
    (value) => setPenalty({ kind: app.settings.penalty.kind, rate: Number(value) }),
    { id: "penalty-rate" },
  );
  const more = element("button", {
    id: "more-button",
    word: "more",
    ariaExpanded: "false",
    on: { click: () => toggleMore(more) },
  });
  more.setAttribute("aria-controls", "more");
  byId("fields").append(
    field("problem_type", parts.kind),
    field("optimizer", parts.optimizer, "net"),
    field("learning_rate", parts.rate.input, "rate"),
    field("activation", parts.activation, "net"),
    field("penalty", parts.penalty, "net"),
    field("penalty_rate", parts.penaltyRate, "net"),
    more,
    parts.rates,
  );
}

function fillMore() {
  const wholeNumber = (
    /** @type {string} */ id,
    /** @type {Object<string, any>} */ attributes,
    /** @type {(value: number) => void} */ changed,
  ) =>
    element("input", {
      type: "number",
      id,
      required: true,
      ...attributes,
      on: { change: (/** @type {any} */ event) => valid(event.target) && changed(Number(event.target.value)) },
    });
  parts.seed = wholeNumber("seed", { min: 0, max: 2 ** 31 - 1, step: 1 }, (value) =>
    app.change((settings) => {
      settings.seed = value;
    }),
  );
  parts.initializer = select(
    app.hello.initializers.map((/** @type {string} */ name) => [name, null]),
    (value) =>
      app.change((settings) => {
        settings.initializer = value;
      }),
    { id: "initializer" },
  );
  parts.speed = select(
    [
      ["1", null],
      ["2", null],
      ["5", null],
      ["10", null],
      ["50", null],
    ],
    (value) => app.all((run) => run.setSpeed(Number(value))),
    { id: "speed" },
  );
  parts.hypers = element("div", { className: "hypers", id: "hypers" });
  const seedButton = element("button", { id: "new-seed", word: "new_seed", on: { click: () => newSeed() } });
  byId("more").append(
    field("initializer", parts.initializer, "net"),
    field("seed", parts.seed),
    seedButton,
    field("speed", parts.speed),
    parts.hypers,
  );
}

/** @param {any} button */
function toggleMore(button) {
  const section = byId("more");
  section.hidden = !section.hidden;
  button.ariaExpanded = String(!section.hidden);
}

/** @param {HTMLInputElement} input */
function valid(input) {
  return input.reportValidity();
}

/** @param {string} name @param {number} value */
async function setHyper(name, value) {
  const run = app.run;
  const answer = await run.ask("hyper", { values: { [name]: value } });
  if (answer && run.settings)
    run.settings = { ...run.settings, optimizer: { ...run.settings.optimizer, [name]: value } };
  app.emit("settings", run);
}

/** @param {{kind: string, rate: number}} penalty */
async function setPenalty(penalty) {
  const run = app.run;
  const answer = await run.ask("penalty", penalty);
  if (answer && run.settings) run.settings = { ...run.settings, penalty };
  app.emit("settings", run);
}

/** Start again from other weights. */
export function newSeed() {
  return app.change((settings) => {
    settings.seed = (settings.seed + 1) % 2 ** 31;
  });
}

/** @param {any} settings @param {string} kind */
function changeKind(settings, kind) {
  settings.kind = kind;
  if (kind === "formula") settings.formula ??= "(a or b) and not (a and b)";
  if (kind === "perceptron" && !["circles", "xor", "gaussians", "spiral", "points"].includes(settings.data.name)) {
    settings.data = { name: "gaussians", size: 500, noise: 0, train: 0.5 };
  }
}

/** The hyper-parameters of the optimizer, each with a number field. @param {any} settings */
function showHypers({ optimizer }) {
  const { hyper, ranges } = app.hello.optimizers[optimizer.name];
  const names = Object.keys(hyper).filter((name) => name !== "learning_rate");
  if (shownHypers !== optimizer.name) {
    shownHypers = optimizer.name;
    parts.hypers.replaceChildren(...names.map((name) => hyperField(name, ranges[name])));
  }
  for (const name of names) parts[`hyper-${name}`].set(optimizer[name] ?? hyper[name]);
}

/** @param {string} name @param {[number, number]} range */
function hyperField(name, [min, max]) {
  const { input, set } = decimalField({ id: `hyper-${name}`, min, max }, (value) => setHyper(name, value));
  parts[`hyper-${name}`] = { set };
  return element("label", { className: "field" }, element("span", { className: "code", textContent: name }), input);
}

/** Show the settings of the active run in the controls. */
function show() {
  const settings = app.settings;
  document.body.dataset.kind = settings.kind;
  parts.kind.value = settings.kind;
  parts.optimizer.value = settings.optimizer.name;
  const usual = app.hello.optimizers[settings.optimizer.name].hyper.learning_rate;
  parts.rate.set(settings.optimizer.learning_rate ?? usual);
  parts.rates.replaceChildren(...RATES.map((value) => element("option", { value: number(value) })));
  const activations = new Set(settings.layers.map((layer) => layer.activation));
  parts.activation.value = activations.size === 1 ? [...activations][0] : "";
  parts.activation.disabled = !settings.layers.length;
  parts.penalty.value = settings.penalty.kind;
  const rate = String(settings.penalty.rate);
  if (!PENALTY_RATES.includes(rate) && ![...parts.penaltyRate.options].some((one) => one.value === rate)) {
    parts.penaltyRate.append(element("option", { value: rate, textContent: rate }));
  }
  for (const option of parts.penaltyRate.options) option.textContent = number(option.value);
  parts.penaltyRate.value = rate;
  parts.penaltyRate.disabled = settings.penalty.kind === "none";
  if (document.activeElement !== parts.seed) parts.seed.value = String(settings.seed);
  parts.initializer.value = settings.initializer;
  showHypers(settings);
  showPlaying();
}

function showPlaying() {
  const playing = app.runs.some((run) => run.playing);
  const button = byId("play");
  button.setAttribute("aria-pressed", String(playing));
  button.dataset.label = playing ? "pause" : "play";
  button.setAttribute("aria-label", word(button.dataset.label));
  document.body.dataset.playing = String(playing);
  watch();
}

/** Say that programs are being compiled if an answer or the next frame does not come for a while. */
function watch() {
  clearTimeout(patience);
  document.body.dataset.busy = "false";
  if (!app.runs.some((run) => run.playing || run.socket.waiting.size)) return;
  patience = setTimeout(() => {
    document.body.dataset.busy = "true";
  }, 700);
}
