/** The settings of a run, and their form in the address of the page. */

/** @typedef {{units: number, activation: string, dropout: number, batch_norm: boolean}} LayerSettings */
/** @typedef {{kind: string, data: Object<string, any>, features: string[], layers: LayerSettings[],
 *             initializer: string,
 *             optimizer: {name: string} & Object<string, any>, penalty: {kind: string, rate: number},
 *             batch_size: number, seed: number} & Object<string, any>} Settings */

/** @returns {Settings} */
export const defaults = () => ({
  kind: "network",
  data: { name: "circles", size: 500, noise: 0, train: 0.5 },
  features: ["x1", "x2"],
  layers: [newLayer(4), newLayer(2)],
  initializer: "glorot_uniform",
  optimizer: { name: "sgd", learning_rate: 0.03 },
  penalty: { kind: "none", rate: 0 },
  batch_size: 10,
  seed: 6,
});

/** @param {number} units @param {string} [activation] @returns {LayerSettings} */
export const newLayer = (units, activation = "tanh") => ({ units, activation, dropout: 0, batch_norm: false });

/** Bytes as base64url, the alphabet of addresses. @param {Uint8Array} bytes */
function toBase64(bytes) {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** @param {string} text */
function fromBase64(text) {
  const plain = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(plain, (character) => character.charCodeAt(0));
}

/** Settings as the fragment of an address. @param {Settings} settings */
export const toFragment = (settings) => `#s=${toBase64(new TextEncoder().encode(JSON.stringify(settings)))}`;

/**
 * What the fragment of an address asks for. @param {string} fragment
 * @returns {{lesson?: string, settings?: Settings, broken?: boolean}}
 */
export function fromFragment(fragment) {
  const parts = new URLSearchParams(fragment.replace(/^#/, ""));
  if (parts.get("lesson")) return { lesson: /** @type {string} */ (parts.get("lesson")) };
  const text = parts.get("s");
  if (!text) return {};
  try {
    return { settings: JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(fromBase64(text))) };
  } catch {
    return { broken: true };
  }
}
