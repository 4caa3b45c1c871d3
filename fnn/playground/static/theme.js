/** Dark or light, as the system says or as the reader chose; and the language. */
import { app } from "./app.js";
import { byId, translate } from "./dom.js";
import { language, setLanguage, word } from "./words.js";

const dark = matchMedia("(prefers-color-scheme: dark)");

/** Settings of the page that outlive a visit; without storage they do not. @param {string} key */
function remembered(key) {
  try {
    return localStorage.getItem(`fnn-playground-${key}`);
  } catch {
    return null;
  }
}

/** @param {string} key @param {string} value */
function remember(key, value) {
  try {
    localStorage.setItem(`fnn-playground-${key}`, value);
  } catch {
    // Private windows may refuse; the choice then lasts as long as the page.
  }
}

export function setUpTheme() {
  const apply = (/** @type {string} */ name) => {
    document.documentElement.dataset.theme = name;
    app.emit("theme");
  };
  apply(remembered("theme") ?? (dark.matches ? "dark" : "light"));
  dark.addEventListener("change", () => {
    if (!remembered("theme")) apply(dark.matches ? "dark" : "light");
  });
  byId("theme").addEventListener("click", () => {
    const name = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    remember("theme", name);
    apply(name);
  });
}

/** The language asked for in the address, chosen before, or of the browser. */
function firstLanguage() {
  const asked = new URLSearchParams(location.search).get("lang") ?? remembered("language") ?? navigator.language;
  return asked.toLowerCase().startsWith("es") ? "es" : "en";
}

export function setUpLanguage() {
  const apply = (/** @type {string} */ name) => {
    setLanguage(name);
    document.documentElement.lang = name;
    document.title = `fnn ${word("playground")}`;
    byId("language").value = language();
    translate(document);
    app.emit("language");
  };
  apply(firstLanguage());
  byId("language").addEventListener("change", () => {
    remember("language", byId("language").value);
    apply(byId("language").value);
  });
}
