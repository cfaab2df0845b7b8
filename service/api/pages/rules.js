// The rules that can decide a criterion, with the fields of each.
import { el } from "shared/dom.js";

const RULES = {
  contains: { about: "contains a text", fields: { text: "text", ignore_case: "yes" } },
  exact: { about: "equals a text", fields: { gold: "text", ignore_case: "no" } },
  regex: { about: "a pattern is found", fields: { pattern: "text", ignore_case: "no" } },
  math_verify: { about: "final answer equals, mathematically", fields: { gold: "text" } },
  choice: { about: "last stated choice is", fields: { gold: "text" } },
  length: { about: "length lies in", fields: { min: "number", max: "number", unit: ["words", "characters"] } },
  json_schema: { about: "is JSON of a schema", fields: { schema: "json" } },
};

export function ruleFields(row, name, changed, again) {
  const rule = row.verifier?.rule ?? "";
  const chosen = el("select", { id: `${name}-rule`, onchange: event => {
    if (event.target.value) row.verifier = { rule: event.target.value }; else delete row.verifier;
    again();
  } }, el("option", { value: "", text: "the judge" }),
    ...Object.entries(RULES).map(([one, { about }]) => el("option", { value: one, text: `rule ${one}: ${about}`, selected: one === rule })));
  return el("div", { class: "row" }, el("label", { for: `${name}-rule`, text: "Decided by" }), chosen,
    ...Object.entries(RULES[rule]?.fields ?? {}).map(([field, kind]) => ruleField(row, `${name}-${field}`, field, kind, changed)));
}

function ruleField(row, id, field, kind, changed) {
  const put = value => { if (value === undefined) delete row.verifier[field]; else row.verifier[field] = value; changed(); };
  const has = row.verifier[field];
  const label = el("label", { for: id, text: field.replace("_", " ") });
  if (Array.isArray(kind)) return el("span", { class: "row" }, label, el("select", { id, onchange: event => put(event.target.value) }, ...kind.map(one => el("option", { text: one, selected: one === has }))));
  if (kind === "yes" || kind === "no") return el("span", { class: "row" }, el("input", { id, type: "checkbox", checked: has ?? kind === "yes", onchange: event => put(event.target.checked) }), label);
  if (kind === "number") return el("span", { class: "row" }, label, el("input", { id, type: "number", min: 0, class: "points", value: has ?? "", oninput: event => put(event.target.value === "" ? undefined : Number(event.target.value)) }));
  if (kind === "text") return el("span", { class: "row grow" }, label, el("input", { id, dir: "auto", value: has ?? "", oninput: event => put(event.target.value) }));
  return el("span", { class: "row grow" }, label, el("textarea", { id, rows: 2, value: has ? JSON.stringify(has) : "", oninput: event => {
    try { put(JSON.parse(event.target.value)); event.target.removeAttribute("aria-invalid"); } catch { event.target.setAttribute("aria-invalid", "true"); }
  } }));
}
