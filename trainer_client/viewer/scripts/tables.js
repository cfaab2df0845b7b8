// The tables: responses, criteria, tags, and what two files share.
import { $, el } from "shared/dom.js";
import { fixed, percent, short, signedFixed, whole } from "shared/writing.js";
import { compared, comparisonTiles } from "./compare.js";
import { sortedBy } from "./data.js";
import { goodness, talkText, textOf } from "./detail.js";
import { interval, levelRibbon, points, ribbon } from "./elements.js";
import { sharesBy } from "./figures.js";
import { foundIn } from "./filter.js";
import { grid } from "./grid.js";
import { change, data, state, view } from "./state.js";

export const scored = i => data.score[i] === data.score[i];
export function scoreCell(i) {
  return scored(i) ? el("b", { text: fixed(data.score[i]) }) : el("span", { class: "why", text: textOf(data, data.status[i]) });
}
export function verdictDots(i) {
  const box = el("span", { class: "dots" }), count = { good: 0, bad: 0, even: 0, none: 0, graded: 0 };
  for (let v = data.start[i]; v < data.start[i + 1]; v++) {
    const kind = goodness(data, v);
    count[kind]++;
    if (v - data.start[i] < 24) box.append(el("i", { class: kind }));
  }
  box.setAttribute("role", "img");
  box.setAttribute("aria-label", `${count.good} for, ${count.bad} against, ${count.none} without a verdict`);
  box.title = box.getAttribute("aria-label");
  return box;
}
export const anyNumber = column => column.some(value => value === value);
export const many = data.files.length > 1;

export function textCell(i) {
  const answer = short(talkText(data, data.response[i]));
  return el("span", { class: "two" }, el("span", { dir: "auto", class: answer ? null : "soft", text: answer || "(empty)" }), el("small", { dir: "auto", text: short(talkText(data, data.prompt[i])) }));
}

const columns = [
  { name: "Score", width: "5.5rem", kind: "n", node: scoreCell, sort: i => data.score[i] },
  many && { name: "File", width: "7rem", kind: "soft", least: 900, text: i => data.files[data.file[i]], sort: i => data.file[i] },
  anyNumber(data.step) && { name: "Step", width: "4rem", kind: "n", least: 640, text: i => data.step[i] === data.step[i] ? String(data.step[i]) : "", sort: i => data.step[i] },
  { name: "Answer", width: "minmax(0, 1fr)", kind: "text", node: textCell },
  { name: "Verdicts", width: "minmax(5rem, 9rem)", least: 460, node: verdictDots, about: "Full and green: for the score. Hollow and red: against it. A dash: no verdict." },
  anyNumber(data.coverage) && { name: "Coverage", width: "6rem", kind: "n", least: 720, text: i => percent(data.coverage[i]), sort: i => data.coverage[i] },
  anyNumber(data.less) && { name: "From mean", width: "6rem", kind: "n", least: 560, text: i => signedFixed(data.less[i]), sort: i => data.less[i], about: "Score less the mean of its group." },
  anyNumber(data.advantage) && { name: "Advantage", width: "6.4rem", kind: "n", least: 640, text: i => signedFixed(data.advantage[i]), sort: i => data.advantage[i] },
].filter(Boolean);
export const responses = grid("Responses", columns, (i, how) => change({ row: i }, how === "enter"), { id: "r", sort: state.sort, sorted: sort => change({ sort }) });

// What the tables of criteria and tags show, by their numbers.
export const rateTables = { criteria: [], tags: [] };
const rateColumns = (of, name, title) => [
  { name: "Met", width: "4.5rem", kind: "n", node: k => el("b", { text: percent(of()[k].value) || "none" }), sort: k => of()[k].value },
  { name: "95 %", width: "7rem", least: 640, node: k => el("span", { title: interval(of()[k]) }, ribbon(of()[k], title(k))) },
  ...name,
  { name: "Verdicts", width: "5.6rem", kind: "n", least: 420, text: k => whole(of()[k].n), sort: k => of()[k].n },
  { name: "Missing", width: "5.4rem", kind: "n", least: 640, text: k => of()[k].missing ? whole(of()[k].missing) : "", sort: k => of()[k].missing },
  { name: "Informative", width: "7rem", kind: "n", least: 640, text: k => percent(of()[k].informative), sort: k => of()[k].informative, about: "Share of the groups in which some answers meet it and some do not." },
];
// How often each level of a criterion was taken, in the order of its levels.
const graded = data.said.level.some(text => text >= 0);
let levelCounts = [];
function countLevels(kept) {
  const found = [];
  for (let v = 0; v < data.v; v++) if (kept[data.rowOf[v]] && data.said.level[v] >= 0) {
    const own = found[data.said.criterion[v]] ??= new Map((data.said.levels(v) ?? []).map(([text]) => [text, 0]));
    own.set(data.said.level[v], (own.get(data.said.level[v]) ?? 0) + 1);
  }
  return found;
}

const criteriaColumns = rateColumns(() => rateTables.criteria, [
  { name: "Points", width: "4.2rem", kind: "n", node: c => el("span", { class: data.fault[c] ? "fault" : "", text: points(data.criteria[c].points) }), sort: c => data.criteria[c].points ?? NaN },
  { name: "Criterion", width: "minmax(0, 1fr)", kind: "text", node: c => el("span", { class: "two" }, el("span", { dir: "auto", text: short(data.texts[data.criteria[c].text]) }), el("small", { dir: "auto", text: data.criteria[c].tags.map(tag => data.tags[tag]).join(" \u00b7 ") })) },
  graded && { name: "Levels", width: "9rem", least: 760, node: c => (levelCounts[c] ? levelRibbon([...levelCounts[c]].map(([text, n]) => [data.texts[text], n])) : el("span")), about: "How often each level was taken, the first one on the left." },
].filter(Boolean), c => data.fault[c]);
export const pickCriterion = criterion => change({ criterion, tag: -1, verdict: "", p: null, tab: "responses", row: -1 }, true);
export const criteria = grid("Criteria", criteriaColumns, (c, how) => { if (how !== "move") pickCriterion(c); }, { id: "c", sort: "-Verdicts" });
export const tags = grid("Tags", rateColumns(() => rateTables.tags, [{ name: "Tag", width: "minmax(0, 1fr)", kind: "text", text: t => data.tags[t] }], () => false),
  (tag, how) => { if (how !== "move") change({ tag, criterion: -1, tab: "responses" }, true); }, { id: "t", sort: "-Verdicts" });

const pairOf = k => view.comparison.pairs[k];
const moved = (was, is) => was === was ? (was === is ? String(was) : `${was} \u2192 ${is}`) : "";
export const pairs = grid("Responses in both files", [
  { name: "Change", width: "5.5rem", kind: "n", node: k => el("b", { class: view.comparison.change[k] > 0 ? "up" : view.comparison.change[k] < 0 ? "down" : "", text: signedFixed(view.comparison.change[k]) || "none" }), sort: k => view.comparison.change[k] },
  { name: "Before", width: "4.8rem", kind: "n", least: 500, node: k => scoreCell(pairOf(k)[0]), sort: k => data.score[pairOf(k)[0]] },
  { name: "After", width: "4.8rem", kind: "n", node: k => scoreCell(pairOf(k)[1]), sort: k => data.score[pairOf(k)[1]] },
  { name: "Flips", width: "4rem", kind: "n", text: k => view.comparison.flips[k] ? String(view.comparison.flips[k]) : "", sort: k => view.comparison.flips[k] },
  { name: "Rank", width: "4.6rem", kind: "n", least: 560, text: k => moved(view.comparison.rankBefore[k], view.comparison.rankAfter[k]), sort: k => Math.abs(view.comparison.rankAfter[k] - view.comparison.rankBefore[k]) },
  { name: "From mean", width: "9rem", kind: "n", least: 760, text: k => view.comparison.lessBefore[k] === view.comparison.lessBefore[k] ? `${signedFixed(view.comparison.lessBefore[k])} \u2192 ${signedFixed(view.comparison.lessAfter[k])}` : "", sort: k => view.comparison.lessAfter[k] - view.comparison.lessBefore[k] },
  { name: "Answer", width: "minmax(0, 1fr)", kind: "text", node: k => textCell(pairOf(k)[1]) },
], (k, how) => change({ row: pairOf(k)[1] }, how === "enter"), { id: "p", sort: "-Flips" });
export const flips = grid("Criteria that flipped", [
  { name: "Flips", width: "4rem", kind: "n", text: k => whole(view.comparison.criteria[k].toMet + view.comparison.criteria[k].toUnmet), sort: k => view.comparison.criteria[k].toMet + view.comparison.criteria[k].toUnmet },
  { name: "To met", width: "4.5rem", kind: "n", least: 640, text: k => whole(view.comparison.criteria[k].toMet), sort: k => view.comparison.criteria[k].toMet },
  { name: "To unmet", width: "5rem", kind: "n", least: 640, text: k => whole(view.comparison.criteria[k].toUnmet), sort: k => view.comparison.criteria[k].toUnmet },
  { name: "Of", width: "4rem", kind: "n", text: k => whole(view.comparison.criteria[k].n), sort: k => view.comparison.criteria[k].n },
  { name: "Criterion", width: "minmax(0, 1fr)", kind: "text", text: k => short(data.texts[data.criteria[view.comparison.criteria[k].criterion].text]) },
], (k, how) => { if (how !== "move") pickCriterion(view.comparison.criteria[k].criterion); }, { id: "f", sort: "-Flips" });

const byCriterion = sortedBy(v => data.said.criterion[v] * data.groups + data.group[data.rowOf[v]], data.v);
const tagged = [];
for (let v = 0; v < data.v; v++) for (const tag of data.criteria[data.said.criterion[v]].tags) tagged.push(tag, v);
const byTag = sortedBy(t => tagged[2 * t] * data.groups + data.group[data.rowOf[tagged[2 * t + 1]]], tagged.length / 2);

export function drawCriteria() {
  const rates = rateTables.criteria = sharesBy(data.criteria.length, byCriterion, v => data.said.criterion[v], v => v, data, view.chosen.kept);
  if (graded) levelCounts = countLevels(view.chosen.kept);
  const found = state.q ? foundIn(data, state.q).texts : null;
  const here = [...rates.keys()].filter(c => rates[c] !== null && (state.tag < 0 || data.criteria[c].tags.includes(state.tag)) && (state.criterion < 0 || c === state.criterion));
  const named = found ? here.filter(c => found[data.criteria[c].text]) : here;
  criteria.show(Int32Array.from(named.length ? named : here));
}

export function drawTags() {
  const rates = rateTables.tags = sharesBy(data.tags.length, byTag, t => tagged[2 * t], t => tagged[2 * t + 1], data, view.chosen.kept);
  tags.show(Int32Array.from([...rates.keys()].filter(t => rates[t] !== null)));
}

export function drawComparison(again) {
  if (!view.comparison || view.comparison.a !== state.a || view.comparison.b !== state.b) view.comparison = Object.assign(compared(data, state.a, state.b), { a: state.a, b: state.b });
  $("difference").replaceChildren(...comparisonTiles(data, view.comparison));
  const every = [...view.comparison.pairs.keys()].filter(k => view.chosen.kept[pairOf(k)[0]] || view.chosen.kept[pairOf(k)[1]]);
  const kinds = { verdicts: k => view.comparison.flips[k] > 0, order: k => view.comparison.rankBefore[k] !== view.comparison.rankAfter[k] && view.comparison.rankBefore[k] === view.comparison.rankBefore[k], sign: k => view.comparison.lessBefore[k] * view.comparison.lessAfter[k] < 0 };
  $("by").value = state.by; $("flipped").value = state.flipped; $("a").value = state.a; $("b").value = state.b;
  $("pairs").hidden = state.by !== "responses"; $("flips").hidden = state.by !== "criteria";
  $("flippedbox").hidden = state.by !== "responses";
  if (state.by === "criteria") flips.show(Int32Array.from(view.comparison.criteria.keys()));
  else pairs.show(Int32Array.from(Object.hasOwn(kinds, state.flipped) ? every.filter(kinds[state.flipped]) : every));
}

