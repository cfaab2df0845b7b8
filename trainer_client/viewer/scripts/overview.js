// Draws what the chosen responses are like: figures, histograms, the best and the worst.
import { $, el } from "shared/dom.js";
import { fixed, percent, whole } from "shared/writing.js";
import { BINS, chart } from "./charts.js";
import { textOf } from "./detail.js";
import { interval, tile } from "./elements.js";
import { histogram, mean, roundRange } from "./figures.js";
import { change, data, state, view } from "./state.js";
import { anyNumber, scoreCell, scored, textCell, verdictDots } from "./tables.js";

const range = roundRange(least(data.score, 0), -least(data.score.map(one => -one), -1));

export function drawOverview() {
  const { rows, kept } = view.chosen;
  const score = mean(data.score, data.group, rows), coverage = mean(data.coverage, data.group, rows);
  let met = 0, known = 0, missing = 0;
  const inside = [];
  for (let v = 0; v < data.v; v++) {
    if (!kept[data.rowOf[v]]) continue;
    if (data.said.met[v] >= 0) { known++; met += data.said.met[v]; } else missing += data.said.share[v] !== data.said.share[v];
    if ((state.criterion < 0 || data.said.criterion[v] === state.criterion) && (state.tag < 0 || data.criteria[data.said.criterion[v]].tags.includes(state.tag))) inside.push(v);
  }
  const even = equalGroups(rows);
  $("tiles").replaceChildren(...[
    tile(whole(rows.length), rows.length === data.n ? "responses" : `of ${whole(data.n)} responses`, `${whole(rows.length - score.n)} without a score`, rows.length > score.n ? "warn" : ""),
    tile(fixed(score.value) || "none", "mean score", interval(score)),
    tile(percent(known ? met / known : NaN) || "none", "of the verdicts met", `${whole(known)} verdicts, ${whole(missing)} missing`),
    coverage.n ? tile(percent(coverage.value), "of the points judged, mean") : null,
    even.groups ? tile(percent(even.equal / even.groups), "of the groups with equal scores", `${whole(even.equal)} of ${whole(even.groups)}`) : null,
  ].filter(Boolean));
  const bins = (values, places, low, high) => histogram(values, places, low, high, BINS);
  $("charts").replaceChildren(...[
    chart("Score", histogram(data.score, rows, ...range), ...range.slice(0, 2), state.score, score => change({ score })),
    anyNumber(data.coverage) ? chart("Coverage", bins(data.coverage, rows, 0, 1), 0, 1, state.coverage, coverage => change({ coverage })) : null,
    chart(state.criterion < 0 && state.tag < 0 ? "P(met) of all verdicts" : "P(met) of the chosen criteria", bins(data.said.p, inside, 0, 1), 0, 1, state.p, p => change({ p })),
  ].filter(Boolean));
  $("best").replaceChildren(...foremost(rows, 1).map(card));
  $("worst").replaceChildren(...foremost(rows, -1).map(card));
  drawReasons(rows);
}

function least(values, end) {
  for (const value of values) if (value < end) end = value;
  return end;
}

function equalGroups(rows) {
  const low = new Float64Array(data.groups).fill(Infinity), high = new Float64Array(data.groups).fill(-Infinity), n = new Int32Array(data.groups);
  for (const i of rows) if (scored(i)) { const g = data.group[i]; n[g]++; low[g] = Math.min(low[g], data.score[i]); high[g] = Math.max(high[g], data.score[i]); }
  let groups = 0, equal = 0;
  for (let g = 0; g < data.groups; g++) if (n[g] > 1) { groups++; equal += high[g] - low[g] < 1e-9; }
  return { groups, equal };
}

// The five responses with the highest score, or with the lowest one, in one pass.
function foremost(rows, sign) {
  const found = [];
  for (const i of rows) {
    if (!scored(i) || (found.length === 5 && sign * (data.score[i] - data.score[found[4]]) <= 0)) continue;
    let at = found.length;
    while (at > 0 && sign * (data.score[i] - data.score[found[at - 1]]) > 0) at--;
    found.splice(at, 0, i);
    if (found.length > 5) found.pop();
  }
  return found;
}

function card(i) {
  return el("li", {}, el("button", { type: "button", class: "answer", onclick: () => change({ tab: "responses", row: i }, true) }, scoreCell(i), textCell(i), verdictDots(i)));
}

function drawReasons(rows) {
  const found = new Map();
  for (const i of rows) if (!scored(i)) found.set(data.status[i], (found.get(data.status[i]) ?? 0) + 1);
  const list = [...found].sort((a, b) => b[1] - a[1]).map(([status, n]) => el("li", {}, el("button", { type: "button", class: "plain", text: `${textOf(data, status)}: ${whole(n)}`, onclick: () => change({ status, tab: "responses" }) })));
  $("reasons").replaceChildren(...list);
  $("unscored").hidden = list.length === 0;
}

