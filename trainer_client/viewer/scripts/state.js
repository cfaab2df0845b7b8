// What is chosen: the state is what the filters say, it is in the fragment of the address, and everything is drawn from it.
import { $ } from "shared/dom.js";
import { decode } from "./data.js";
import { filtered, VERDICTS } from "./filter.js";

export const data = decode(JSON.parse(document.getElementById("data").textContent));
export const TABS = ["overview", "responses", "criteria", ...(data.tags.length ? ["tags"] : []), ...(data.files.length > 1 ? ["compare"] : [])];
export const START = { tab: data.n > 1 ? "overview" : "responses", q: "", file: -1, status: -1, tag: -1, criterion: -1, level: -1, verdict: "", score: null, coverage: null, step: null, p: null, row: data.n > 1 ? -1 : 0, sort: "", a: 0, b: Math.min(1, data.files.length - 1), by: "responses", flipped: "" };
export const FILTERS = ["q", "file", "status", "tag", "criterion", "level", "verdict", "score", "coverage", "step", "p"];
export const RANGES = [["score", "low", "high"], ["step", "first", "last"]];
export const state = { ...START, ...read() };

// What follows from the state: the chosen responses, and two files that are compared.
export const view = { chosen: filtered(data, state), comparison: null };
let drawAgain = () => {};
export const whenChanged = draw => { drawAgain = draw; };

export function read() {
  const found = {};
  for (const [key, text] of new URLSearchParams(location.hash.slice(1))) {
    if (!Object.hasOwn(START, key)) continue;
    if (["score", "coverage", "step", "p"].includes(key)) { const ends = text.split("~").map(Number); if (ends.length === 2 && ends.every(Number.isFinite)) found[key] = ends; }
    else if (typeof START[key] === "number") { const value = Number(text); if (Number.isInteger(value) && value >= -1 && value < limit(key)) found[key] = value; }
    else found[key] = text;
  }
  if (found.tab && !TABS.includes(found.tab)) delete found.tab;
  if (found.verdict && !Object.hasOwn(VERDICTS, found.verdict)) delete found.verdict;
  return found;
}

function limit(key) {
  return { row: data.n, file: data.files.length, a: data.files.length, b: data.files.length, status: data.texts.length, tag: data.tags.length, criterion: data.criteria.length, level: data.texts.length }[key];
}

function write() {
  const parts = new URLSearchParams();
  for (const [key, value] of Object.entries(state)) if (value !== START[key]) parts.set(key, Array.isArray(value) ? value.join("~") : value);
  const fragment = parts.toString();
  if (fragment !== location.hash.slice(1)) history.replaceState(null, "", fragment ? `#${fragment}` : location.pathname + location.search);
}

export function change(more, focus = false) {
  const again = FILTERS.some(key => key in more && more[key] !== state[key]);
  Object.assign(state, more);
  write();
  if (again) view.chosen = filtered(data, state);
  drawAgain(again, focus);
}

