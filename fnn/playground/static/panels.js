/** The row of tabs below the network. */
import { byId, element } from "./dom.js";

/** @typedef {{id: string, build: (panel: HTMLElement) => void, shown?: () => void}} Panel */

/** @type {Panel[]} */
let all = [];
let open = "";

/** Whether a panel is the one that is shown. @param {string} id */
export const isOpen = (id) => open === id;

/** @param {Panel[]} panels */
export function setUpPanels(panels) {
  all = panels;
  for (const { id, build } of panels) {
    const tab = element("button", {
      id: `tab-${id}`,
      role: "tab",
      word: `panel_${id}`,
      ariaSelected: "false",
      tabIndex: -1,
      on: { click: () => openPanel(id), keydown: (/** @type {KeyboardEvent} */ event) => move(event, id) },
    });
    tab.setAttribute("aria-controls", `panel-${id}`);
    byId("tabs").append(tab);
    const panel = element("div", {
      id: `panel-${id}`,
      role: "tabpanel",
      hidden: true,
      tabIndex: 0,
      className: "panel",
    });
    panel.setAttribute("aria-labelledby", tab.id);
    byId("panels").append(panel);
    build(panel);
  }
  openPanel(panels[0].id);
}

/** @param {string} id */
export function openPanel(id) {
  open = id;
  for (const panel of all) {
    const selected = panel.id === id;
    const tab = byId(`tab-${panel.id}`);
    tab.setAttribute("aria-selected", String(selected));
    tab.tabIndex = selected ? 0 : -1;
    byId(`panel-${panel.id}`).hidden = !selected;
    if (selected) panel.shown?.();
  }
}

/** Arrow keys move between tabs. @param {KeyboardEvent} event @param {string} id */
function move(event, id) {
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!by) return;
  event.preventDefault();
  const index = (all.findIndex((panel) => panel.id === id) + by + all.length) % all.length;
  openPanel(all[index].id);
  byId(`tab-${all[index].id}`).focus();
}
