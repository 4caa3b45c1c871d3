/** The settings in the address of the page: written after each change, read at the start and when it changes. */
import { app } from "./app.js";
import { copyText } from "./code.js";
import { byId, element } from "./dom.js";
import { openLesson } from "./lessons.js";
import { defaults, fromFragment, toFragment } from "./settings.js";
import { word } from "./words.js";

/** Longer addresses are not kept by all programs. */
const LONGEST = 30_000;

export function setUpShare() {
  byId("share").addEventListener("click", () => showShare());
  app.on("settings", (run) => {
    if (run === app.run) write();
  });
  app.on("runs", write);
  window.addEventListener("hashchange", () => start());
}

/** The address of the page with these settings. */
function address() {
  const url = new URL(location.href);
  url.hash = app.run.settings ? toFragment(app.run.settings) : "";
  return url.href;
}

function write() {
  const url = address();
  if (url.length < LONGEST && app.run.settings) history.replaceState(null, "", url);
}

/** Set up what the address asks for. */
export async function start() {
  const { settings, broken, lesson: named } = fromFragment(location.hash);
  const lesson = named ?? (settings || app.run.settings ? null : new URLSearchParams(location.search).get("lesson"));
  if (lesson && (await openLesson(lesson))) return;
  if (broken) app.emit("problem", new Error(word("address_broken")));
  await app.run.set(settings ?? defaults());
  if (!app.run.settings) await app.run.set(defaults());
}

function showShare() {
  const url = address();
  const long = url.length >= LONGEST;
  const input = element("input", {
    readOnly: true,
    id: "share-address",
    value: long ? "" : url,
    label: "share_address",
  });
  const copied = element("span", { role: "status", id: "share-copied" });
  const dialog = element(
    "dialog",
    { id: "share-dialog", className: "dialog", on: { close: () => dialog.remove() } },
    element("h2", { word: "share" }),
    element("p", { word: long ? "share_long" : "share_note" }),
    input,
    element(
      "div",
      { className: "row-of-controls" },
      element("button", {
        id: "share-copy",
        word: "copy",
        disabled: long,
        on: {
          click: async () => {
            await copyText(url);
            copied.textContent = word("copied");
          },
        },
      }),
      element("button", { id: "share-close", word: "close", on: { click: () => dialog.close() } }),
      copied,
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  input.select();
}
