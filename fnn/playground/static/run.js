/** One run on the server: its settings, its newest frame, and the losses so far. */
import { Refused, Socket } from "./socket.js";

/** @typedef {import("./settings.js").Settings} Settings */
/** @typedef {import("./socket.js").Frame} Frame */

export class Run {
  /**
   * @param {string} address of the socket
   * @param {{changed: (run: Run) => void, drawn: (run: Run) => void, played: (run: Run) => void,
   *          failed: (error: any) => void, waiting: () => void, closed: (run: Run) => void}} listeners
   */
  constructor(address, listeners) {
    this.listeners = listeners;
    this.socket = new Socket(address, {
      frame: (frame) => this.received(frame),
      note: (message) => this.noted(message),
      closed: () => listeners.closed(this),
    });
    /** @type {Settings|null} */
    this.settings = null;
    /** @type {any} what the server said of the settings: problem, layers, parameters, inputs */
    this.built = null;
    /** @type {Frame|null} */
    this.frame = null;
    /** @type {[number, number, number][]} epoch, training loss, test loss */
    this.history = [];
    /** @type {{epoch: number, layers: any[]}[]} gradients and dead units by layer, while the run was watched */
    this.health = [];
    this.playing = false;
    /** The last epoch reached, to which time travel can go forward. */
    this.reached = 0;
    /** @type {Map<string, (message: any) => void>} */
    this.listening = new Map();
    /** @type {Settings|null} what waits while other settings are under way */
    this.wanted = null;
    /** @type {Settings|null} */
    this.underWay = null;
    /** @type {Promise<void>|null} */
    this.sending = null;
    this.asked = false;
    this.epochsPerFrame = 1;
    /** @type {{train?: any, test?: any}} the rows of the data, which come with the first frame */
    this.points = {};
  }

  /** @param {Frame} frame */
  received(frame) {
    if (frame.type !== "frame") {
      this.listening.get(frame.type)?.(frame);
      return;
    }
    this.remember(frame);
    this.frame = frame;
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      this.listeners.drawn(this);
      this.socket.tell("ack", { frame: /** @type {Frame} */ (this.frame).frame });
    });
  }

  /** Add a frame's losses to those before. @param {Frame} frame */
  remember(frame) {
    if (frame.fresh) this.forget();
    const { "points/train": train, "points/test": test } = frame.arrays;
    if (train) this.points = { train, test };
    for (const point of frame.history ?? []) {
      while (this.history.length && this.history[this.history.length - 1][0] >= point[0]) this.history.pop();
      this.history.push(point);
    }
    if (this.history.length > 4000)
      this.history = this.history.filter((_, index, all) => index % 2 === 0 || index > all.length - 3);
    const last = this.history[this.history.length - 1]?.[0] ?? 0;
    this.reached = Math.max(frame.reached ?? 0, last, frame.epoch);
    while (this.health.length && this.health[this.health.length - 1].epoch >= frame.epoch) this.health.pop();
    this.follow(frame);
    if (frame.finished && this.playing) this.setPlaying(false);
    if (frame.layers) this.health.push({ epoch: frame.epoch, layers: frame.layers });
    if (this.health.length > 600) this.health = this.health.filter((_, index) => index % 2 === 0);
  }

  /** Take over hyper-parameters and the penalty of an epoch to which time travel went. @param {Frame} frame */
  follow({ hyper, penalty, fresh }) {
    if (!this.settings || !hyper || fresh) return;
    const { optimizer } = this.settings;
    const near = (/** @type {number} */ a, /** @type {number} */ b) => Math.abs(a - b) <= 1e-6 * Math.abs(b);
    const other = Object.keys(hyper).filter((name) => name in optimizer && !near(optimizer[name], hyper[name]));
    if (
      !other.length &&
      (!penalty || (penalty.kind === this.settings.penalty.kind && penalty.rate === this.settings.penalty.rate))
    )
      return;
    const values = Object.fromEntries(other.map((name) => [name, Number(hyper[name].toPrecision(6))]));
    this.settings = {
      ...this.settings,
      optimizer: { ...optimizer, ...values },
      penalty: penalty ?? this.settings.penalty,
    };
    this.listeners.changed(this);
  }

  /** @param {any} message */
  noted(message) {
    if (message.error) this.listeners.failed(new Refused(message.error));
    this.listening.get(message.type)?.(message);
  }

  /** @param {boolean} playing */
  setPlaying(playing) {
    this.playing = playing;
    this.listeners.played(this);
  }

  /**
   * Send a request; failures are shown to the reader, and give null.
   * @param {string} action @param {Object<string, any>} [values] @returns {Promise<any>}
   */
  async ask(action, values = {}) {
    try {
      const answer = this.socket.request(action, values);
      this.listeners.waiting();
      return await answer;
    } catch (error) {
      this.listeners.failed(error);
      return null;
    } finally {
      this.listeners.waiting();
    }
  }

  /**
   * Build and start again with new settings. While one request is under way, only the newest settings wait.
   * @param {Settings} settings @returns {Promise<void>}
   */
  set(settings) {
    this.wanted = settings;
    this.sending ??= this.sendWanted().finally(() => {
      this.sending = null;
    });
    return this.sending;
  }

  async sendWanted() {
    while (this.wanted) {
      const settings = this.wanted;
      this.wanted = null;
      this.underWay = settings;
      const answer = await this.ask("set", { settings });
      this.underWay = null;
      if (answer) {
        this.settings = answer.settings;
        this.built = answer;
        this.listeners.changed(this);
        if (answer.settings.kind === "formula") this.setPlaying(false);
        if (this.playing && !this.wanted) await this.startPlaying();
      } else {
        this.setPlaying(false);
        if (this.settings) this.listeners.changed(this);
      }
    }
  }

  /** Forget the losses of a run that starts again. */
  forget() {
    this.history = [];
    this.health = [];
    this.reached = 0;
  }

  /** The settings asked for last. @returns {Settings|null} */
  get newest() {
    return this.wanted ?? this.underWay ?? this.settings;
  }

  async startPlaying() {
    if (!(await this.ask("play", { epochs_per_frame: this.epochsPerFrame }))) this.setPlaying(false);
  }

  async play() {
    this.setPlaying(true);
    if (this.sending) await this.sending;
    else await this.startPlaying();
  }

  /** @param {number} epochsPerFrame */
  async setSpeed(epochsPerFrame) {
    this.epochsPerFrame = epochsPerFrame;
    if (this.playing) await this.play();
  }

  async pause() {
    this.setPlaying(false);
    await this.ask("pause");
  }

  async step() {
    await this.sending;
    if (this.playing) await this.pause();
    await this.ask("step", { epochs: 1 });
  }

  /** Back to epoch 0, with the hyper-parameters as they are now. */
  async reset() {
    if (this.playing) await this.pause();
    if (this.newest) await this.set(this.newest);
  }
}
