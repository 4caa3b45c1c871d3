/** The inputs that a network may read from a point of the plane. */
import { mapOf } from "./maps.js";

/** @type {Object<string, {shown: string, of: (x1: number, x2: number) => number}>} */
const TABLE = {
  x1: { shown: "x₁", of: (x1) => x1 },
  x2: { shown: "x₂", of: (_, x2) => x2 },
  "x1^2": { shown: "x₁²", of: (x1) => x1 * x1 },
  "x2^2": { shown: "x₂²", of: (_, x2) => x2 * x2 },
  "x1*x2": { shown: "x₁x₂", of: (x1, x2) => x1 * x2 },
  "sin(x1)": { shown: "sin x₁", of: (x1) => Math.sin(x1) },
  "sin(x2)": { shown: "sin x₂", of: (_, x2) => Math.sin(x2) },
};

export const FEATURES = Object.keys(TABLE);

/** A feature as readers write it. @param {string} name */
export const featureName = (name) => TABLE[name]?.shown ?? name;

/** @type {Map<string, {shape: number[], values: Uint8Array}>} */
const maps = new Map();

/** The map of a feature over the plane, or null for a column of a table. @param {string} name */
export function featureMap(name) {
  if (!TABLE[name]) return null;
  if (!maps.has(name)) maps.set(name, mapOf(TABLE[name].of, 30));
  return maps.get(name) ?? null;
}
