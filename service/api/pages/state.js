// What a person has written, kept in this browser. The key is no part of it.
import { known } from "./kept.js";

const PLACE = "rubricd.playground", BEFORE = "rubricd.before";
export const state = { turns: [], responses: [], reference: "", rubric: [], options: {}, second: null };

let count = 0;
export const criterion = (fields = {}) => ({ key: ++count, text: "", points: 1, tags: {}, ...fields });

export const plainState = () => ({ ...state, rubric: state.rubric.map(({ key, open, ...fields }) => fields) });

// Takes what `known` returned.
export function load(found) {
  Object.assign(state, structuredClone(found), { rubric: found.rubric.map(one => criterion(structuredClone(one))) });
}

// Whether the browser kept it.
function put(place, value) {
  try { localStorage.setItem(place, JSON.stringify(value)); return true; } catch { return false; }
}

function get(place) {
  try { return known(JSON.parse(localStorage.getItem(place))); } catch { return null; }
}

export const save = () => put(PLACE, plainState());
export const saved = () => get(PLACE);

// What stood here before something else took its place, to be brought back.
let before = null;
export const keepBefore = found => { before = found; put(BEFORE, found); };
export const keptBefore = () => before ?? get(BEFORE);

export const remembered = () => { try { return localStorage.getItem("rubricd.key"); } catch { return null; } };

export function remember(value) {
  try { value ? localStorage.setItem("rubricd.key", value) : localStorage.removeItem("rubricd.key"); } catch { /* a browser that keeps nothing */ }
}
