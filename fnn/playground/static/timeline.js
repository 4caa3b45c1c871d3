/** Time travel: a slider over all epochs reached, with the training loss behind it. */
import { app } from "./app.js";
import { curveStyle, drawCurves } from "./charts.js";
import { byId, oncePerFrame } from "./dom.js";
import { word } from "./words.js";

/** @type {number|null} the epoch asked for while another request is under way */
let wanted = null;
let going = false;

export function setUpTimeline() {
  const input = byId("time");
  input.addEventListener("input", () => go(Number(input.value)));
  app.on("frame", (run) => {
    if (run === app.run) show();
  });
  for (const event of /** @type {const} */ (["runs", "language", "theme", "playing"])) app.on(event, () => show());
  new ResizeObserver(() => show()).observe(input);
}

/** Go to an epoch; while one request is under way only the newest waits. @param {number} epoch */
export async function go(epoch) {
  wanted = epoch;
  if (going) return;
  going = true;
  while (wanted !== null) {
    const next = wanted;
    wanted = null;
    await app.all(async (run) => {
      if (run.playing) await run.pause();
      await run.ask("go", { epoch: Math.min(next, run.reached) });
    });
  }
  going = false;
}

const show = oncePerFrame(() => {
  const run = app.run;
  if (!run?.frame) return;
  const input = byId("time");
  const epoch = run.frame.epoch;
  input.max = String(run.reached);
  input.disabled = run.reached === 0;
  if (!going) input.value = String(epoch);
  const back = epoch < run.reached;
  const text = back ? word("time_back", { epoch, reached: run.reached }) : word("time_now", { epoch });
  byId("time-text").textContent = text;
  input.setAttribute("aria-valuetext", text);
  const points = /** @type {[number, number][]} */ (run.history.map(([at, loss]) => [at, loss]));
  drawCurves(byId("time-curve"), [{ ...curveStyle(0), points, width: 1.2 }], { axes: false });
});
