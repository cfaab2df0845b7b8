// Shows one response with its evidence: the conversation, the response, and each criterion with its verdict.

const MARKS = { 1: "\u2713", 0: "\u2717", "-1": "\u2013" };
const WORDS = { 1: "met", 0: "not met", "-1": "no verdict" };

// Whether a verdict is good for the score: a met fault is not.
function goodness(data, v) {
  const { met, criterion, value } = data.said;
  if (met[v] < 0 && value[v] === value[v]) return "graded";
  if (met[v] < 0) return "none";
  const worth = data.criteria[criterion[v]].points;
  if (worth === 0 || worth === null) return "even";
  return (met[v] === 1) === (worth > 0) ? "good" : "bad";
}

function textOf(data, place) { return place < 0 ? "" : data.texts[place]; }
function talkText(data, talk) { const own = data.talks[talk]; return own.length ? data.texts[own[own.length - 1]] : ""; }

function mark(data, v) {
  const { met } = data.said;
  if (goodness(data, v) === "graded") return make("span", { class: "mark", text: String(Math.round(100 * data.said.value[v])), role: "img", "aria-label": `${percent(data.said.value[v])} of its points` });
  return make("span", { class: `mark ${goodness(data, v)}`, text: MARKS[met[v]], role: "img", "aria-label": WORDS[met[v]] });
}

function probability(data, v) {
  const { p, raw } = data.said;
  if (p[v] !== p[v]) return null;
  const svg = drawn("svg", { viewBox: "0 0 100 10", class: "p", role: "img", "aria-label": `P(met) ${number(p[v])}`, preserveAspectRatio: "none" },
    drawn("rect", { x: 0, y: 3, width: 100, height: 4, class: "ground" }), drawn("rect", { x: 0, y: 3, width: p[v] * 100, height: 4, class: "bar" }));
  if (raw[v] === raw[v] && raw[v] !== p[v]) svg.append(drawn("rect", { x: raw[v] * 99, y: 0, width: 1.2, height: 10, class: "raw" }));
  const beside = raw[v] === raw[v] && raw[v] !== p[v] ? ` (raw ${number(raw[v])})` : "";
  return make("div", { class: "pbox", title: `P(met) ${p[v]}${raw[v] === raw[v] ? `, before calibration ${raw[v]}` : ""}` }, svg, make("span", { text: `P ${number(p[v])}${beside}` }));
}

function verdictRow(data, v, pick, other = -1) {
  const { criterion, status, source, explanation, detail, level, value, met, extracted } = data.said;
  const one = data.criteria[criterion[v]];
  const facts = [];
  if (met[v] < 0 && value[v] !== value[v]) facts.push(make("b", { class: "why", text: `no verdict: ${textOf(data, status[v]) || "not said why"}` }));
  if (source[v] >= 0) facts.push(make("span", { text: `by ${textOf(data, source[v])}` }));
  if (level[v] >= 0) facts.push(make("span", { text: `level ${textOf(data, level[v])}` }));
  if (value[v] === value[v]) facts.push(make("span", { text: `worth ${number(value[v])} of its points` }));
  for (const [name, p] of data.said.levels(v) ?? []) if (p !== null) facts.push(make("span", { text: `${data.texts[name]}: ${number(p)}` }));
  for (const [judge, said, p, why] of data.said.members(v) ?? []) facts.push(make("span", { class: "tag", dir: "auto", text: `${data.texts[judge]}: ${said === null ? textOf(data, why ?? -1) || "no verdict" : WORDS[said]}${p === null || p === undefined ? "" : `, P ${number(p)}`}` }));
  for (const tag of one.tags) facts.push(make("span", { class: "tag", text: data.tags[tag] }));
  const marks = other < 0 ? mark(data, v) : make("span", { class: "marks" }, mark(data, other), make("span", { class: "to", text: "\u2192" }), mark(data, v));
  const flipped = other >= 0 && met[other] !== met[v];
  return make("li", { class: `verdict${flipped ? " flipped" : ""}` }, marks,
    make("div", { class: "what" },
      said(data.texts[one.text], "criterion"),
      make("div", { class: "facts" }, ...facts),
      extracted[v] >= 0 ? said(`Read out of it: ${textOf(data, extracted[v])}`, "explanation") : null,
      explanation[v] >= 0 ? said(textOf(data, explanation[v]), "explanation") : null,
      detail[v] >= 0 ? said(textOf(data, detail[v]), "explanation") : null),
    make("div", { class: "side" }, make("b", { class: one.points < 0 ? "points fault" : "points", text: points(one.points) }), probability(data, v),
      make("button", { type: "button", class: "plain", text: "all answers", "aria-label": `All answers that were asked: ${snippet(data.texts[one.text], 80)}`, onclick: () => pick(criterion[v]) })));
}

function talk(data, place) {
  const own = data.talks[place], made = [];
  for (let part = 0; part < own.length; part += 2)
    made.push(make("div", { class: "turn" }, make("h4", { text: data.texts[own[part]] }), said(data.texts[own[part + 1]])));
  return made;
}

function bounds(data, i) {
  const low = data.low[i], high = data.high[i], score = data.score[i];
  if (low !== low && score !== score) return null;
  const from = Math.min(0, low === low ? low : score, score === score ? score : 0), to = Math.max(1, high === high ? high : score, score === score ? score : 1);
  const at = value => 6 + (value - from) / (to - from) * 188;
  const svg = drawn("svg", { viewBox: "0 0 200 26", class: "bounds", role: "img", "aria-label": score === score ? `score ${number(score)}` : "no score" });
  svg.append(drawn("line", { x1: 6, x2: 194, y1: 10, y2: 10, class: "axis" }));
  for (const value of [from, ...(from < 0 ? [0] : []), to]) svg.append(drawn("line", { x1: at(value), x2: at(value), y1: 6, y2: 14, class: "axis" }), drawn("text", { x: at(value), y: 24, "text-anchor": value === to ? "end" : value === from ? "start" : "middle", text: number(value, 1) }));
  if (low === low && high > low) svg.append(drawn("rect", { x: at(low), y: 7, width: at(high) - at(low), height: 6, class: "range" }));
  if (score === score) svg.append(drawn("circle", { cx: at(score), cy: 10, r: 5, class: "dot" }));
  return svg;
}

function facts(data, i) {
  const list = [];
  const add = (name, value) => { if (value !== "" && value !== null) list.push(make("dt", { text: name }), make("dd", { text: value, dir: "auto" })); };
  if (data.files.length > 1) add("file", data.files[data.file[i]]);
  add("step", data.step[i] === data.step[i] ? String(data.step[i]) : "");
  add("coverage", percent(data.coverage[i]));
  if (data.low[i] === data.low[i] && data.high[i] > data.low[i]) add("bounds", `${number(data.low[i])} to ${number(data.high[i])}`);
  if (data.reward[i] !== data.score[i]) add("reward", number(data.reward[i]));
  add("advantage", signed(data.advantage[i]));
  add("less the group's mean", signed(data.less[i]));
  if (data.rank[i] === data.rank[i]) add("rank in its group", `${data.rank[i]} of ${data.members[data.group[i]].length}`);
  add("judge", textOf(data, data.judge[i]));
  return make("dl", {}, ...list);
}

function groupOf(data, i, go) {
  const members = data.members[data.group[i]];
  if (members.length < 2) return null;
  const best = [...members].sort((a, b) => (Number.isNaN(data.score[a]) - Number.isNaN(data.score[b])) || data.score[b] - data.score[a]);
  const list = best.slice(0, 64).map(one => make("li", {}, make("button", { type: "button", class: one === i ? "member here" : "member", "aria-current": one === i ? "true" : null, onclick: () => go(one) },
    make("b", { text: number(data.score[one]) || textOf(data, data.status[one]) }), make("span", { dir: "auto", text: snippet(talkText(data, data.response[one]), 90) }))));
  return make("details", { open: members.length <= 8 }, make("summary", { text: `Its group: ${members.length} answers` }), make("ol", { class: "members" }, ...list));
}

function detail(data, i, { go, pick, other = -1, pairs = null }) {
  const scored = data.score[i] === data.score[i];
  const list = [];
  for (let v = data.start[i]; v < data.start[i + 1]; v++) list.push(verdictRow(data, v, pick, pairs ? pairs.get(v) ?? -1 : -1));
  const title = make("h2", { dir: "auto", tabindex: "-1" }, textOf(data, data.id[i]));
  const score = make("div", { class: "scoreline" }, make("b", { class: scored ? "score" : "score missing", text: scored ? number(data.score[i]) : "no score" }), bounds(data, i));
  const why = scored ? null : make("p", { class: "why", text: textOf(data, data.status[i]) + (data.detail[i] >= 0 ? `: ${textOf(data, data.detail[i])}` : "") });
  const turns = talk(data, data.prompt[i]);
  const conversation = turns.length > 1
    ? make("details", {}, make("summary", { text: `Conversation: ${turns.length} turns` }), ...turns.slice(0, -1))
    : null;
  const before = other < 0 ? null : make("p", { class: "before" }, `Before: ${number(data.score[other]) || textOf(data, data.status[other])}. Each verdict is shown before and after. `,
    data.response[other] !== data.response[i] ? make("b", { text: "The answer is another one." }) : null);
  return [title, score, why, before, facts(data, i),
    make("h3", { text: "Question" }), conversation, ...turns.slice(-1),
    make("h3", { text: "Response" }), ...talk(data, data.response[i]),
    other >= 0 && data.response[other] !== data.response[i] ? make("details", {}, make("summary", { text: "The response before" }), ...talk(data, data.response[other])) : null,
    make("h3", { text: `Criteria: ${list.length}` }), list.length ? make("ul", { class: "verdicts" }, ...list) : make("p", { text: "This log holds no verdicts." }),
    groupOf(data, i, go)].filter(one => one !== null);
}
