/** The connection to the server: numbered requests with answers, and binary frames. */

/** @typedef {{name: string, dtype: string, shape: number[], offset: number, low?: number, high?: number,
 *             values: Uint8Array|Float32Array}} FrameArray */
/** @typedef {{type: string, frame: number, epoch: number, arrays: Object<string, FrameArray>} & Object<string, any>
 *            } Frame */

/** A request that the server refused: its message, and the place in the settings. */
export class Refused extends Error {
  /** @param {{message: string, es?: string, where?: string}} error in English and in Spanish */
  constructor({ message, es, where }) {
    super(message);
    this.es = es ?? message;
    this.where = where ?? "";
  }
}

/**
 * A binary message: uint32 length of the header, header in JSON, then the arrays.
 * @param {ArrayBuffer} buffer @returns {Frame}
 */
export function decode(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const start = 4 + length;
  /** @type {Object<string, FrameArray>} */
  const arrays = {};
  for (const array of header.arrays ?? []) {
    const size = array.shape.reduce((/** @type {number} */ a, /** @type {number} */ b) => a * b, 1);
    const from = start + array.offset;
    // A copy, as float32 must begin at a multiple of four bytes.
    array.values =
      array.dtype === "uint8"
        ? new Uint8Array(buffer, from, size)
        : new Float32Array(buffer.slice(from, from + 4 * size));
    arrays[array.name] = array;
  }
  return { ...header, arrays };
}

export class Socket {
  /**
   * @param {string} address
   * @param {{frame: (frame: Frame) => void, note: (message: any) => void,
   *   closed: (event: CloseEvent) => void}} listeners
   */
  constructor(address, listeners) {
    this.listeners = listeners;
    /** @type {Map<number, {resolve: (answer: any) => void, reject: (error: Error) => void}>} */
    this.waiting = new Map();
    this.last = 0;
    this.ended = false;
    this.socket = new WebSocket(address);
    this.socket.binaryType = "arraybuffer";
    this.hello = new Promise((resolve, reject) => {
      this.greeted = resolve;
      this.socket.addEventListener("close", () => reject(new Error("closed")));
    });
    this.hello.catch(() => {});
    this.socket.addEventListener("message", (event) => this.received(event.data));
    this.socket.addEventListener("close", (event) => this.closed(event));
  }

  /** @param {string|ArrayBuffer} data */
  received(data) {
    if (typeof data !== "string") {
      this.listeners.frame(decode(data));
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "hello") this.greeted?.(message);
    const waiting = this.waiting.get(message.id);
    if (!waiting || message.type) {
      if (message.type !== "hello") this.listeners.note(message);
      return;
    }
    this.waiting.delete(message.id);
    if (message.error) waiting.reject(new Refused(message.error));
    else waiting.resolve(message);
  }

  /** @param {CloseEvent} event */
  closed(event) {
    for (const { reject } of this.waiting.values()) reject(new Error("closed"));
    this.waiting.clear();
    if (!this.ended) this.listeners.closed(event);
  }

  /** Send what has no answer. @param {string} action @param {Object<string, any>} values */
  tell(action, values) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ do: action, ...values }));
  }

  /**
   * Send a request; its answer. @param {string} action @param {Object<string, any>} [values] @returns {Promise<any>}
   */
  request(action, values = {}) {
    const id = ++this.last;
    return new Promise((resolve, reject) => {
      if (this.socket.readyState !== WebSocket.OPEN) {
        reject(new Error("closed"));
        return;
      }
      this.waiting.set(id, { resolve, reject });
      this.socket.send(JSON.stringify({ id, do: action, ...values }));
    });
  }

  /** Close for good. */
  end() {
    this.ended = true;
    this.socket.close();
  }
}
