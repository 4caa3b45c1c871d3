/** The script that ends with this very result, and the Keras script of the same network. */
import { app } from "./app.js";
import { byId, download, element } from "./dom.js";
import { isOpen } from "./panels.js";
import { word } from "./words.js";

const KINDS = /** @type {const} */ (["fnn", "keras"]);

/** @param {HTMLElement} panel */
export function buildCode(panel) {
  panel.append(
    element("p", { id: "code-note", className: "note", word: "code_note" }),
    element(
      "div",
      { className: "row-of-controls" },
      element("button", { id: "code-refresh", word: "code_refresh", on: { click: () => showCode() } }),
      element("span", { id: "code-files", className: "row-of-controls" }),
    ),
    element(
      "div",
      { className: "codes" },
      ...KINDS.map((kind) =>
        element(
          "figure",
          { className: "code" },
          element(
            "figcaption",
            {},
            element("b", { textContent: kind === "fnn" ? "fnn" : "Keras" }),
            element("button", { id: `copy-${kind}`, word: "copy", on: { click: () => copy(kind) } }),
            element("button", { id: `save-${kind}`, word: "save", on: { click: () => save(kind) } }),
          ),
          element(
            "pre",
            { tabIndex: 0, label: `code_${kind}` },
            element("code", { id: `code-${kind}`, translate: false }),
          ),
        ),
      ),
    ),
  );
  app.on("settings", () => {
    if (isOpen("code")) showCode();
  });
  app.on("playing", () => {
    if (isOpen("code") && !app.run.playing) showCode();
  });
}

export async function showCode() {
  if (!app.run?.built) return;
  const answer = app.settings.kind === "formula" ? { fnn: app.run.built.code } : await app.run.ask("code");
  const files = Object.entries(answer?.files ?? {});
  byId("code-files").replaceChildren(
    ...files.map(([name, text]) =>
      element("button", {
        className: "example",
        textContent: name,
        on: { click: () => download(new Blob([text], { type: "text/csv" }), name) },
      }),
    ),
  );
  for (const kind of KINDS) {
    const code = byId(`code-${kind}`);
    code.replaceChildren(...colored(answer?.[kind] ?? ""));
    code.closest("figure").hidden = !answer?.[kind];
  }
}

const KEYWORDS = "import|from|def|return|for|in|if|else|as|not|and|or|None|True|False|lambda|class|with";
const STRINGS = `"""[^]*?"""|"[^"\\n]*"|'[^'\\n]*'`;
const TOKENS = new RegExp(`(#[^\\n]*)|(${STRINGS})|\\b(${KEYWORDS})\\b|\\b(\\d[\\d._e+-]*)\\b`, "g");

/** Python with comments, strings, keywords and numbers marked. @param {string} text @returns {Node[]} */
function colored(text) {
  const nodes = [];
  let end = 0;
  for (const match of text.matchAll(TOKENS)) {
    nodes.push(document.createTextNode(text.slice(end, match.index)));
    const kind = ["comment", "string", "keyword", "number"][match.slice(1).findIndex((group) => group !== undefined)];
    nodes.push(element("span", { className: kind, textContent: match[0] }));
    end = match.index + match[0].length;
  }
  nodes.push(document.createTextNode(text.slice(end)));
  return nodes;
}

/** @param {string} kind */
async function copy(kind) {
  const button = byId(`copy-${kind}`);
  await copyText(byId(`code-${kind}`).textContent);
  button.textContent = word("copied");
  setTimeout(() => {
    button.textContent = word("copy");
  }, 1500);
}

/** Copy to the clipboard, also where the page may not use it. @param {string} text */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = element("textarea", { value: text, className: "hidden" });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

/** @param {string} kind */
function save(kind) {
  download(
    new Blob([byId(`code-${kind}`).textContent], { type: "text/x-python" }),
    kind === "fnn" ? "playground.py" : "playground_keras.py",
  );
}
