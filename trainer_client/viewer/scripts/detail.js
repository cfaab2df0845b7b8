// Shows one response with its evidence: the conversation, the response, and each criterion with its verdict.
import { el, svg } from "shared/dom.js";
import { fixed, percent, short, signedFixed } from "shared/writing.js";
import { isFlipped } from "./compare.js";
import { points, said } from "./elements.js";

const MARKS = { 1: "\u2713", 0: "\u2717", "-1": "\u2013" };
const WORDS = { 1: "met", 0: "not met", "-1": "no verdict" };

// Whether a verdict is good for the score: a met fault is not.
export function goodness(data, v) {
  const { met, criterion, share } = data.said;
  if (share[v] === share[v]) return "graded";
  if (met[v] < 0) return "none";
  const worth = data.criteria[criterion[v]].points;
  if (worth === 0 || worth === null) return "even";
  return (met[v] === 1) === (worth > 0) ? "good" : "bad";
}

export function textOf(data, place) { return place < 0 ? "" : data.texts[place]; }
export function talkText(data, talk) { const own = data.talks[talk]; return own.length ? data.texts[own[own.length - 1]] : ""; }

function mark(data, v) {
  const { met } = data.said;
  if (goodness(data, v) === "graded") return el("span", { class: "mark graded", text: String(Math.round(100 * data.said.share[v])), role: "img", "aria-label": `${percent(data.said.share[v])} of its points`, title: `${percent(data.said.share[v])} of its points` });
  return el("span", { class: `mark ${goodness(data, v)}`, text: MARKS[met[v]], role: "img", "aria-label": WORDS[met[v]] });
}

function probability(data, v) {
  const { p, raw } = data.said;
  if (p[v] !== p[v]) return null;
  const picture = bar(p[v]);
  if (raw[v] === raw[v] && raw[v] !== p[v]) picture.append(svg("rect", { x: raw[v] * 99, y: 0, width: 1.2, height: 10, class: "raw" }));
  const beside = raw[v] === raw[v] && raw[v] !== p[v] ? ` (raw ${fixed(raw[v])})` : "";
  return el("div", { class: "pbox", title: `P(met) ${p[v]}${raw[v] === raw[v] ? `, before calibration ${raw[v]}` : ""}` }, picture, el("span", { text: `P ${fixed(p[v])}${beside}` }));
}

// What a verdict was made of, a line each: the word of each judge of a composition, or the probability of each level.
// `told` gives a name, a probability, a word, and whether the line stands out.
function parts(list, told) {
  const known = (list ?? []).map(told).filter(([, p, word]) => word || typeof p === "number");
  if (!known.length) return null;
  return el("ul", { class: "parts" }, ...known.map(([name, p, word, outstanding]) => el("li", { class: outstanding ? "outstanding" : null }, el("span", { dir: "auto", text: name }),
    typeof p === "number" ? bar(p) : el("span"), el("span", { class: "n", text: [word, fixed(p)].filter(Boolean).join(" ") }))));
}

const bar = p => svg("svg", { viewBox: "0 0 100 10", class: "p", "aria-hidden": "true", preserveAspectRatio: "none" },
  svg("rect", { x: 0, y: 3, width: 100, height: 4, class: "ground" }), svg("rect", { x: 0, y: 3, width: Math.min(Math.max(p, 0), 1) * 100, height: 4, class: "bar" }));

function verdictRow(data, v, pick, other = -1) {
  const { criterion, status, source, explanation, detail, level, value, share, met, extracted } = data.said;
  const one = data.criteria[criterion[v]];
  const facts = [];
  if (met[v] < 0 && share[v] !== share[v]) facts.push(el("b", { class: "why", text: `no verdict: ${textOf(data, status[v]) || "not said why"}` }));
  if (source[v] >= 0) facts.push(el("span", { text: `by ${textOf(data, source[v])}` }));
  if (level[v] >= 0) facts.push(el("span", { text: `level ${textOf(data, level[v])}` }));
  if (share[v] === share[v]) facts.push(el("span", { text: `${percent(share[v])} of its points${value[v] === value[v] && value[v] !== share[v] ? `, ${percent(value[v])} expected` : ""}` }));
  for (const tag of one.tags) facts.push(el("span", { class: "tag", text: data.tags[tag] }));
  const marks = other < 0 ? mark(data, v) : el("span", { class: "marks" }, mark(data, other), el("span", { class: "to", text: "\u2192" }), mark(data, v));
  const flipped = other >= 0 && isFlipped(data, other, v);
  return el("li", { class: `verdict${flipped ? " flipped" : ""}` }, marks,
    el("div", { class: "what" },
      said(data.texts[one.text], "criterion"),
      el("div", { class: "facts" }, ...facts),
      parts(data.said.members(v), ([judge, met, p, why]) => [data.texts[judge], p, met === null ? textOf(data, why ?? -1) || "no verdict" : WORDS[met], met !== null && met !== data.said.met[v]]),
      parts(data.said.levels(v), ([name, p]) => [data.texts[name], p, "", name === level[v]]),
      extracted[v] >= 0 ? said(`Extracted: ${textOf(data, extracted[v])}`, "explanation") : null,
      explanation[v] >= 0 ? said(textOf(data, explanation[v]), "explanation") : null,
      detail[v] >= 0 ? said(textOf(data, detail[v]), "explanation") : null),
    el("div", { class: "side" }, el("b", { class: one.points < 0 ? "points fault" : "points", text: points(one.points) }), probability(data, v),
      el("button", { type: "button", class: "plain", text: "all answers", "aria-label": `All answers that were asked: ${short(data.texts[one.text], 80)}`, onclick: () => pick(criterion[v]) })));
}

function talk(data, place) {
  const own = data.talks[place], made = [];
  for (let part = 0; part < own.length; part += 2)
    made.push(el("div", { class: "turn" }, el("h4", { text: data.texts[own[part]] }), said(data.texts[own[part + 1]])));
  return made;
}

function bounds(data, i) {
  const low = data.low[i], high = data.high[i], score = data.score[i];
  if (low !== low && score !== score) return null;
  const from = Math.min(0, low === low ? low : score, score === score ? score : 0), to = Math.max(1, high === high ? high : score, score === score ? score : 1);
  const at = value => 6 + (value - from) / (to - from) * 188;
  const picture = svg("svg", { viewBox: "0 0 200 26", class: "bounds", role: "img", "aria-label": score === score ? `score ${fixed(score)}` : "no score" });
  picture.append(svg("line", { x1: 6, x2: 194, y1: 10, y2: 10, class: "axis" }));
  for (const value of [from, ...(from < 0 ? [0] : []), to]) picture.append(svg("line", { x1: at(value), x2: at(value), y1: 6, y2: 14, class: "axis" }), svg("text", { x: at(value), y: 24, "text-anchor": value === to ? "end" : value === from ? "start" : "middle", text: fixed(value, 1) }));
  if (low === low && high > low) picture.append(svg("rect", { x: at(low), y: 7, width: at(high) - at(low), height: 6, class: "range" }));
  if (score === score) picture.append(svg("circle", { cx: at(score), cy: 10, r: 5, class: "dot" }));
  return picture;
}

function facts(data, i) {
  const list = [];
  const add = (name, value) => { if (value !== "" && value !== null) list.push(el("dt", { text: name }), el("dd", { text: value, dir: "auto" })); };
  if (data.files.length > 1) add("file", data.files[data.file[i]]);
  add("step", data.step[i] === data.step[i] ? String(data.step[i]) : "");
  add("coverage", percent(data.coverage[i]));
  if (data.low[i] === data.low[i] && data.high[i] > data.low[i]) add("bounds", `${fixed(data.low[i])} to ${fixed(data.high[i])}`);
  if (data.reward[i] !== data.score[i]) add("reward", fixed(data.reward[i]));
  add("advantage", signedFixed(data.advantage[i]));
  add("less the group's mean", signedFixed(data.less[i]));
  if (data.rank[i] === data.rank[i]) add("rank in its group", `${data.rank[i]} of ${data.members[data.group[i]].length}`);
  add("judge", textOf(data, data.judge[i]));
  return el("dl", {}, ...list);
}

function groupOf(data, i, go) {
  const members = data.members[data.group[i]];
  if (members.length < 2) return null;
  const best = [...members].sort((a, b) => (Number.isNaN(data.score[a]) - Number.isNaN(data.score[b])) || data.score[b] - data.score[a]);
  const list = best.slice(0, 64).map(one => el("li", {}, el("button", { type: "button", class: one === i ? "member here" : "member", "aria-current": one === i ? "true" : null, onclick: () => go(one) },
    el("b", { text: fixed(data.score[one]) || textOf(data, data.status[one]) }), el("span", { dir: "auto", text: short(talkText(data, data.response[one]), 90) }))));
  return el("details", { open: members.length <= 8 }, el("summary", { text: `Its group: ${members.length} answers` }), el("ol", { class: "members" }, ...list));
}

export function detail(data, i, { go, pick, other = -1, pairs = null }) {
  const scored = data.score[i] === data.score[i];
  const list = [];
  for (let v = data.start[i]; v < data.start[i + 1]; v++) list.push(verdictRow(data, v, pick, pairs ? pairs.get(v) ?? -1 : -1));
  const title = el("h2", { dir: "auto", tabindex: "-1" }, textOf(data, data.id[i]));
  const score = el("div", { class: "scoreline" }, el("b", { class: scored ? "score" : "score missing", text: scored ? fixed(data.score[i]) : "no score" }), bounds(data, i));
  const why = scored ? null : el("p", { class: "why", text: textOf(data, data.status[i]) + (data.detail[i] >= 0 ? `: ${textOf(data, data.detail[i])}` : "") });
  const turns = talk(data, data.prompt[i]);
  const conversation = turns.length > 1
    ? el("details", {}, el("summary", { text: `Conversation: ${turns.length} turns` }), ...turns.slice(0, -1))
    : null;
  const before = other < 0 ? null : el("p", { class: "before" }, `Before: ${fixed(data.score[other]) || textOf(data, data.status[other])}. Each verdict is shown before and after. `,
    data.response[other] !== data.response[i] ? el("b", { text: "The answer is another one." }) : null);
  return [title, score, why, before, facts(data, i),
    el("h3", { text: "Question" }), conversation, ...turns.slice(-1),
    el("h3", { text: "Response" }), ...talk(data, data.response[i]),
    other >= 0 && data.response[other] !== data.response[i] ? el("details", {}, el("summary", { text: "The response before" }), ...talk(data, data.response[other])) : null,
    el("h3", { text: `Criteria: ${list.length}` }), list.length ? el("ul", { class: "verdicts" }, ...list) : el("p", { text: "This log holds no verdicts." }),
    groupOf(data, i, go)].filter(one => one !== null);
}
