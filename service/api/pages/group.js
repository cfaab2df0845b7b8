// Several responses beside each other: the group as GRPO sees it, and where the verdicts differ.
import { el } from "shared/dom.js";
import { fixed, short, signedFixed } from "shared/writing.js";
import { spread } from "./drawing.js";
import { letter } from "./editor.js";
import { badge, verdictWord } from "./result.js";
import { advantages } from "./shares.js";

const flips = verdicts => new Set(verdicts.map(verdict => (verdict.status === "ok" ? verdictWord(verdict) : "failed"))).size > 1;

// `choose` is called with the index of the response whose reasons a person wants.
export function groupOf(results, rubric, chosen, choose) {
  const scores = results.map(result => result.score), { mean, std, each } = advantages(scores);
  const missing = scores.filter(score => score === null).length, level = std !== null && std < 1e-9;
  const said = mean === null ? "No response has a score." : `Mean ${fixed(mean)}${std === null ? "" : `, standard deviation ${fixed(std)}`}.`;
  return el("section", { class: "group", "aria-label": "The group" },
    el("h3", { text: "The group" }),
    mean !== null && spread(scores, mean, std, results.map((_, index) => letter(index))),
    el("p", { class: "small", id: "group-said", text: said }),
    level && el("p", { class: "notice", text: "All rewards are equal (zero variance): every advantage is 0, and GRPO learns nothing from this group." }),
    missing > 0 && el("p", { class: "notice", text: `${missing} of ${scores.length} has no score. A trainer leaves it out; it is not a 0.` }),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Responses and criteria" }, el("table", {},
      el("thead", {}, el("tr", {}, el("th", { scope: "col", text: "Criterion" }), ...results.map((_, index) => el("th", { scope: "col" }, el("button", { type: "button", "aria-pressed": String(index === chosen), text: letter(index), "aria-label": `Show why response ${letter(index)} got its score`, onclick: () => choose(index) }))))),
      el("tbody", {}, ...(results[0].rating !== undefined && results[0].rating !== null ? [] : rubric.map((row, at) => verdictRow(row, results.map(result => result.criteria[at]))))),
      el("tfoot", {}, numbers("Reward", scores.map(score => (score === null ? "none" : fixed(score)))), numbers("Advantage", each.map(one => (one === null ? "none" : signedFixed(one, 2))))))),
    el("p", { class: "hint", text: "Press a letter to see why that response got its reward. Advantage: (reward − mean) / (standard deviation + 0.0001), as TRL computes GRPO's. Where verdicts differ, a row is shaded and begins with ≠." }));
}

const numbers = (name, texts) => el("tr", {}, el("th", { scope: "row", text: name }), ...texts.map(text => el("td", { class: "n", text })));

function verdictRow(row, verdicts) {
  return el("tr", { class: flips(verdicts) ? "flips" : "" }, el("th", { scope: "row", dir: "auto", title: row.text, text: short(row.text, 120) }),
    ...verdicts.map(verdict => el("td", {}, badge(verdict), typeof verdict.p === "number" && el("span", { class: "n small soft", text: ` ${fixed(verdict.p, 2)}` }))));
}

// Two ways of judging the same response.
export function pairOf(first, second, names, rubric) {
  const both = first.criteria.length === second.criteria.length && first.criteria.length === rubric.length;
  const pairs = both ? rubric.map((row, at) => [row, [first.criteria[at], second.criteria[at]]]) : [];
  const changed = pairs.filter(([, verdicts]) => flips(verdicts)).length;
  const said = [both ? `${changed} of ${pairs.length} verdicts flip` : "One of the two gives no verdicts", first.score !== null && second.score !== null && `the reward changes by ${signedFixed(second.score - first.score)}`].filter(Boolean).join(", and ");
  return el("section", { class: "group pair", "aria-label": "Two ways of judging" }, el("h3", { text: "Two ways of judging" }), el("p", { id: "pair-said", text: `${said}.` }),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Verdicts of two ways of judging" }, el("table", {},
      el("thead", {}, el("tr", {}, el("th", { scope: "col", text: "Criterion" }), ...names.map(text => el("th", { scope: "col", text })))),
      el("tbody", {}, ...pairs.map(([row, verdicts]) => verdictRow(row, verdicts))),
      el("tfoot", {}, numbers("Reward", [first, second].map(one => (one.score === null ? "none" : fixed(one.score))))))));
}
