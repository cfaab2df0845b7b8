// The rules that can decide a criterion, with the fields of each.
import { el } from "shared/dom.js";
import { markWrong } from "./fields.js";

const RULES = {
  contains: { about: "contains a text", fields: { text: "text", ignore_case: "yes" } },
  exact: { about: "equals a text", fields: { gold: "text", ignore_case: "no" } },
  regex: { about: "a pattern is found", fields: { pattern: "text", ignore_case: "no" } },
  math_verify: { about: "final answer equals, mathematically", fields: { gold: "text" } },
  choice: { about: "last stated choice is", fields: { gold: "text" } },
  length: { about: "length lies in", fields: { min: "number", max: "number", unit: ["words", "characters"] } },
  json_schema: { about: "is JSON of a schema", fields: { schema: "json" } },
};
const NAMES = Object.keys(RULES);
const OF_TURNS = { on: ["final", "all"] };

// The fields of a rule: `put` is told the rule that was chosen, `changed` that one of its fields changed. `offered` names
// the rules to choose from, each with its text; where a whole response is looked at, it may be all turns of it.
export function ruleFields(rule, name, { label, offered, put, changed, turns = false }) {
  const chosen = el("select", { id: `${name}-rule`, onchange: event => put(event.target.value) },
    ...offered.map(([value, text]) => el("option", { value, text, selected: value === (rule?.rule ?? "") })));
  const fields = rule ? { ...RULES[rule.rule]?.fields, ...(turns && OF_TURNS) } : {};
  return el("div", { class: "row" }, el("label", { for: `${name}-rule`, text: label }), chosen,
    ...Object.entries(fields).map(([field, kind]) => ruleField(rule, `${name}-${field}`, field, kind, changed)));
}

export const allRules = () => NAMES.map(one => [one, `rule ${one}: ${RULES[one].about}`]);

function ruleField(rule, id, field, kind, changed) {
  const put = value => { if (value === undefined || value === "") delete rule[field]; else rule[field] = value; changed(); };
  const has = rule[field];
  const labelled = (one, wide) => el("span", { class: wide ? "row grow" : "row" }, el("label", { for: id, text: field === "on" ? "looks at" : field.replace("_", " ") }), one);
  if (Array.isArray(kind)) return labelled(el("select", { id, onchange: event => put(event.target.value === kind[0] ? undefined : event.target.value) }, ...kind.map(one => el("option", { value: one, text: { final: "the final answer", all: "all turns" }[one] ?? one, selected: one === (has ?? kind[0]) }))));
  if (kind === "yes" || kind === "no") return el("span", { class: "row" }, el("input", { id, type: "checkbox", checked: has ?? kind === "yes", onchange: event => put(event.target.checked) }), el("label", { for: id, text: field.replace("_", " ") }));
  if (kind === "number") return labelled(el("input", { id, type: "number", min: 0, class: "points", value: has ?? "", oninput: event => put(event.target.value === "" ? undefined : Number(event.target.value)) }));
  if (kind === "text") return labelled(el("input", { id, dir: "auto", value: has ?? "", oninput: event => put(event.target.value) }), true);
  return labelled(el("textarea", { id, rows: 2, value: has ? JSON.stringify(has) : "", oninput: event => {
    let schema; // what is no JSON is none, rather than the one before it
    try { schema = JSON.parse(event.target.value); } catch { schema = undefined; }
    put(schema);
    markWrong(event.target, schema === undefined);
  } }), true);
}
