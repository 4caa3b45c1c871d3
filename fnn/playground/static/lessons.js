/** Lessons: each sets the page up, and says what to do and what to look for. */
import { app } from "./app.js";
import { byId, element } from "./dom.js";
import { language, word } from "./words.js";

let current = "";
let choices = 0; // of a lesson or of none; an answer to an earlier one comes too late

export function setUpLessons() {
  byId("lesson").addEventListener("change", () => {
    if (byId("lesson").value) openLesson(byId("lesson").value);
    else closeLesson();
  });
  app.on("language", () => {
    fill();
    if (current) showText(current);
  });
  fill();
}

/** A lesson's title in the language of the page. @param {any} lesson */
const title = (lesson) => lesson.title[language()];

function fill() {
  const lessons = app.hello?.lessons ?? [];
  byId("lesson").replaceChildren(
    element("option", { value: "", word: "no_lesson" }),
    ...lessons.map((/** @type {any} */ lesson) => element("option", { value: lesson.id, textContent: title(lesson) })),
  );
  byId("lesson").value = current;
}

/** Set the page up for a lesson, and show its text; whether there is one. @param {string} name */
export async function openLesson(name) {
  const choice = ++choices;
  const answer = await app.run.ask("lesson", { name, language: language() });
  if (choice !== choices) return true;
  if (!answer) {
    closeLesson();
    return false;
  }
  current = name;
  byId("lesson").value = name;
  await app.run.set(answer.settings);
  if (choice === choices) show(answer);
  return true;
}

/** @param {string} name */
async function showText(name) {
  const choice = choices;
  const answer = await app.run.ask("lesson", { name, language: language() });
  if (answer && choice === choices) show(answer);
}

export function closeLesson() {
  choices++;
  current = "";
  byId("lesson").value = "";
  byId("lesson-panel").hidden = true;
}

/** @param {any} answer */
function show(answer) {
  const lessons = app.hello.lessons.map((/** @type {any} */ lesson) => lesson.id);
  const index = lessons.indexOf(current);
  const go = (/** @type {string} */ id, /** @type {string} */ name, /** @type {string} */ to) =>
    element("button", {
      id,
      word: name,
      disabled: !to,
      on: { click: () => openLesson(to) },
    });
  const panel = byId("lesson-panel");
  panel.replaceChildren(
    element(
      "div",
      { className: "lesson-head" },
      element("h2", { textContent: answer.title }),
      element("span", {
        className: "note",
        textContent: word("lesson_of", { number: index + 1, count: lessons.length }),
      }),
      go("lesson-before", "lesson_before", lessons[index - 1]),
      go("lesson-next", "lesson_next", lessons[index + 1]),
      element("button", {
        id: "lesson-close",
        className: "icon",
        label: "close",
        textContent: "×",
        on: { click: closeLesson },
      }),
    ),
    element(
      "div",
      { className: "lesson-text" },
      element("p", { textContent: answer.text }),
      element("ol", {}, ...answer.look.map((/** @type {string} */ step) => element("li", { textContent: step }))),
    ),
  );
  panel.hidden = false;
}
