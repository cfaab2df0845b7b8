// Draws the filters as the state has them.
import { $, el } from "shared/dom.js";
import { fixed, short, whole } from "shared/writing.js";
import { change, data, FILTERS, RANGES, START, state, view } from "./state.js";

export function drawFilters() {
  if (document.activeElement !== $("q")) $("q").value = state.q;
  $("status").value = state.status; $("tag").value = state.tag; $("verdict").value = state.verdict; $("level").value = state.level;
  if ($("file")) $("file").value = state.file;
  for (const [key, ...ids] of RANGES) ids.forEach((id, at) => {
    if (document.activeElement !== $(id)) $(id).value = state[key] === null || Math.abs(state[key][at]) > 1e8 ? "" : +state[key][at].toFixed(4);
  });
  const chips = [];
  const chip = (text, more) => chips.push(el("button", { type: "button", class: "chip", "aria-label": `Remove the filter: ${text}`, onclick: () => change(more) }, el("span", { dir: "auto", text }), " \u00d7"));
  if (state.criterion >= 0) chip(`criterion: ${short(data.texts[data.criteria[state.criterion].text], 60)}`, { criterion: -1 });
  if (state.coverage) chip(`coverage ${fixed(state.coverage[0], 2)} to ${fixed(state.coverage[1], 2)}`, { coverage: null });
  if (state.p) chip(`P ${fixed(state.p[0], 2)} to ${fixed(state.p[1], 2)}`, { p: null });
  const any = FILTERS.some(key => state[key] !== START[key]);
  if (any) chips.push(el("button", { type: "button", class: "chip clear", text: "Clear all filters", onclick: () => change(Object.fromEntries(FILTERS.map(key => [key, START[key]]))) }));
  $("chips").replaceChildren(...chips);
  $("count").textContent = `${whole(view.chosen.rows.length)} of ${whole(data.n)}`;
}

