// What a criterion asks for: met or not met by the judge or a rule, one of levels or choices, or a value to extract.
import { el } from "shared/dom.js";
import { plural } from "shared/writing.js";
import { markWrong } from "./fields.js";
import { allRules, ruleFields } from "./rules.js";

const KINDS = { met: "met or not met", levels: "one of levels, in order", choices: "one of choices, without an order", extract: "a value that the judge extracts" };
const TYPES = { number: "a number", integer: "a whole number", string: "a text", date: "a date", choice: "one of these", list: "a list of texts" };
const OPTIONS = { levels: "0: Names no cause.\n0.5: Names one cause.\n1: Names both causes.", choices: "1: Recommends rest.\n1: Recommends exercise.\n0: Recommends neither." };

const kindOf = row => Object.keys(KINDS).find(kind => row[kind] !== undefined) ?? "met";

// What is said of a criterion whose fields are folded.
export const kindMarks = row => [row.verifier && `rule ${row.verifier.rule}`, row.levels && plural(row.levels.length, "level"), row.choices && plural(row.choices.length, "choice"), row.extract && `extracts ${TYPES[row.extract.type] ?? row.extract.type}`].filter(Boolean);

// `changed` is called after every change, and `again` where other fields are wanted, with the id of the one to go to.
export function kindFields(row, name, changed, again) {
  const kind = kindOf(row), id = `${name}-kind`;
  const pick = event => {
    for (const one of Object.keys(KINDS)) delete row[one];
    delete row.verifier;
    const wanted = event.target.value;
    if (wanted === "extract") row.extract = { type: "number", instructions: "", rule: { rule: "math_verify" } };
    else if (wanted !== "met") row[wanted] = optionsIn(OPTIONS[wanted]).options;
    again(id);
  };
  return [el("div", { class: "row" }, el("label", { for: id, text: "The judge says" }),
    el("select", { id, onchange: pick }, ...Object.entries(KINDS).map(([value, text]) => el("option", { value, text, selected: value === kind })))),
  ...(kind === "met" ? [verifierFields(row, name, changed, again)] : kind === "extract" ? extractFields(row.extract, name, changed, again) : [optionFields(row, kind, name, changed)])];
}

function verifierFields(row, name, changed, again) {
  const put = rule => { if (rule) row.verifier = { rule }; else delete row.verifier; again(`${name}-rule`); };
  return ruleFields(row.verifier, name, { label: "Decided by", offered: [["", "the judge"], ...allRules()], put, changed, turns: true });
}

// A value, then what is true of the response at it. `wrong` is the first line that has no value.
function optionsIn(text) {
  const options = [], lines = text.split("\n");
  let wrong = null;
  lines.forEach((line, at) => {
    const found = line.trim().match(/^([+-]?\d*[.,]?\d+)\s*[:\s]\s*(.+)$/);
    if (found) options.push({ text: found[2], value: Number(found[1].replace(",", ".")) });
    else if (line.trim()) wrong ??= at + 1;
  });
  return { options, wrong };
}

const linesOf = options => options.map(one => `${one.value ?? ""}: ${one.text}`).join("\n");

function optionFields(row, kind, name, changed) {
  const id = `${name}-${kind}`, hint = el("span", { class: "small bad", role: "status", id: `${id}-hint` });
  const field = el("textarea", { id, rows: 4, dir: "auto", "aria-describedby": `${id}-hint`, value: linesOf(row[kind]), oninput: event => {
    const { options, wrong } = optionsIn(event.target.value);
    row[kind] = options;
    hint.textContent = wrong ? `Line ${wrong} has no value in front, such as 0.5: … so it is not used.` : "";
    markWrong(event.target, wrong !== null);
    changed();
  } });
  return el("div", {}, el("label", { for: id, text: `${kind === "levels" ? "Levels" : "Choices"}, one a line: the share of the points, 0 to 1, then what is true at it` }), field, hint);
}

function extractFields(extract, name, changed, again) {
  const field = (label, one) => el("div", {}, el("label", { for: one.id, text: label }), one);
  const type = el("select", { id: `${name}-type`, onchange: event => {
    extract.type = event.target.value;
    if (extract.type === "choice") extract.choices ??= ["yes", "no"]; else delete extract.choices;
    again(`${name}-type`);
  } }, ...Object.entries(TYPES).map(([value, text]) => el("option", { value, text, selected: value === extract.type })));
  const rule = ruleFields(extract.rule, `${name}-extracted`, { label: "Met where it passes", offered: allRules(), changed,
    put: chosen => { extract.rule = { rule: chosen }; again(`${name}-extracted-rule`); } });
  return [el("div", { class: "row" }, el("label", { for: `${name}-type`, text: "It extracts" }), type),
    extract.type === "choice" && field("The values to choose from, one a line", el("textarea", { id: `${name}-values`, rows: 3, dir: "auto", value: extract.choices.join("\n"), oninput: event => { extract.choices = event.target.value.split("\n").map(one => one.trim()).filter(Boolean); changed(); } })),
    field("What the judge looks for. It reads this, and not the criterion's text, so do not name the right value here", el("textarea", { id: `${name}-instructions`, rows: 2, dir: "auto", placeholder: "The final number that the response states.", value: extract.instructions, oninput: event => { extract.instructions = event.target.value; changed(); } })), rule];
}
