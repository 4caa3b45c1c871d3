/** The page: connects to the server, builds its parts, and gives out the keys. */
import { app } from "./app.js";
import { buildClassic } from "./classic.js";
import { buildCode, showCode } from "./code.js";
import { buildCompare } from "./compare.js";
import { setUpControls, togglePlay } from "./controls.js";
import { setUpData } from "./data.js";
import { setUpDigits } from "./digits.js";
import { byId, element } from "./dom.js";
import { buildHealth, healthShown } from "./health.js";
import { setUpInspect } from "./inspect.js";
import { setUpLessons } from "./lessons.js";
import { buildMany } from "./many.js";
import { setUpNetwork } from "./network.js";
import { setUpOutput } from "./output.js";
import { setUpPanels } from "./panels.js";
import { setUpPicture } from "./picture.js";
import { setUpShare, start } from "./share.js";
import { buildSurface } from "./surface.js";
import { setUpLanguage, setUpTheme } from "./theme.js";
import { setUpTimeline } from "./timeline.js";
import { language, word } from "./words.js";

/** Say what went wrong, until the next change. @param {any} error */
function showProblem(error) {
  const box = byId("problem");
  const closed = error.message === "closed";
  const text = closed ? word("connection_lost") : language() === "es" && error.es ? error.es : error.message;
  box.replaceChildren(
    element("span", {}, error.where ? element("code", { textContent: error.where }) : null, error.where ? `: ${text}` : text),
    closed
      ? element("button", { id: "reload", word: "reload", on: { click: () => location.reload() } })
      : element("button", {
          className: "icon",
          label: "close",
          textContent: "×",
          on: {
            click: () => {
              box.hidden = true;
            },
          },
        }),
  );
  box.hidden = false;
  document.body.dataset.connected = String(!closed);
}

/** @param {KeyboardEvent} event */
function keyed(event) {
  const target = /** @type {HTMLElement} */ (event.target);
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (target.closest("input:not([type=range]):not([type=checkbox]), textarea, select, dialog, [role=application]"))
    return;
  if (event.key === " " && !target.closest("button, [type=checkbox], [type=radio]")) togglePlay();
  else if (event.key === "s") app.all((run) => run.step());
  else if (event.key === "r") app.all((run) => run.reset());
  else return;
  event.preventDefault();
}

async function main() {
  setUpTheme();
  setUpLanguage();
  app.on("problem", showProblem);
  app.on("change", () => {
    if (document.body.dataset.connected !== "false") byId("problem").hidden = true;
  });
  const run = app.connect();
  app.runs = [run];
  try {
    app.hello = await run.socket.hello;
  } catch {
    return; // The loss of the connection has been reported.
  }
  setUpControls();
  setUpData();
  setUpNetwork();
  setUpInspect();
  setUpOutput();
  setUpDigits();
  setUpTimeline();
  setUpLessons();
  setUpShare();
  setUpPicture();
  buildClassic();
  setUpPanels([
    { id: "health", build: buildHealth, shown: healthShown },
    { id: "many", build: buildMany },
    { id: "compare", build: buildCompare },
    { id: "surface", build: buildSurface },
    {
      id: "code",
      build: buildCode,
      shown: () => {
        showCode();
      },
    },
  ]);
  document.addEventListener("keydown", keyed);
  await start();
  document.body.dataset.ready = "true";
}

main();
