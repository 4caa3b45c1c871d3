/** What the parts of the page share: the runs, the one that the controls change, and the events between parts. */
import { Run } from "./run.js";
import { defaults } from "./settings.js";

/** @typedef {import("./settings.js").Settings} Settings */
/** @typedef {"settings"|"change"|"frame"|"playing"|"waiting"|"language"|"theme"|"problem"|"runs"|"show"} EventName */

/** @type {Map<string, ((...values: any[]) => void)[]>} */
const listeners = new Map();

export const app = {
  /** @type {any} the server's first message: limits and the names of everything */
  hello: null,
  /** @type {Run[]} one, or two beside each other */
  runs: [],
  active: 0,
  view: { discretize: false, test: false },

  /** @returns {Run} the run that the controls change */
  get run() {
    return this.runs[this.active];
  },

  /** @returns {Settings} */
  get settings() {
    return this.run?.newest ?? defaults();
  },

  /** @param {EventName} event @param {(...values: any[]) => void} listener */
  on(event, listener) {
    listeners.set(event, [...(listeners.get(event) ?? []), listener]);
  },

  /** @param {EventName} event @param {...any} values */
  emit(event, ...values) {
    for (const listener of listeners.get(event) ?? []) listener(...values);
  },

  /** Change the settings of the active run, which starts again. @param {(settings: Settings) => void} mutate */
  change(mutate) {
    this.emit("change");
    const settings = structuredClone(this.settings);
    mutate(settings);
    return this.run.set(settings);
  },

  /** The same for each run. @param {(run: Run) => any} act */
  all(act) {
    return Promise.all(this.runs.map(act));
  },

  /** A new run, connected to the server. @returns {Run} */
  connect() {
    const address = new URL("ws", location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    address.search = location.search;
    address.hash = "";
    return new Run(address.href, {
      changed: (run) => this.emit("settings", run),
      drawn: (run) => this.emit("frame", run),
      played: (run) => this.emit("playing", run),
      waiting: () => this.emit("waiting"),
      failed: (error) => this.emit("problem", error),
      closed: (run) => this.lost(run),
    });
  },

  /** @param {Run} run */
  lost(run) {
    run.setPlaying(false);
    this.emit("problem", new Error("closed"));
  },
};
