// The rubric as rows to edit, what the lint says about them, and rubrics that are pasted.
import { $, el } from "shared/dom.js";
import { plural, short, signed } from "shared/writing.js";
import { area, later, markWrong } from "./fields.js";
import { kindFields, kindMarks } from "./kinds.js";
import { criterionAt, placeInWords } from "./places.js";
import { askJson } from "./service.js";
import { criterion, plainState, state } from "./state.js";

const FIXED = ["duplicate_text", "category_prefix", "untidy_text", "tag_form"];
const CATEGORIES = ["essential", "important", "optional", "pitfall"];
const polarities = { "": "as the points say", positive: "wanted", negative: "a fault" };
let findings = [];
let onEdit = () => {};

// A row as the contract takes it.
export function onWire({ key, open, ...row }) {
  const { tags, points, ...others } = row;
  const kept = Object.fromEntries(Object.entries(others).filter(([, value]) => value !== "" && value !== null && value !== undefined));
  return { ...kept, text: row.text, points, ...(Object.keys(tags ?? {}).length && { tags }) };
}

export const filled = () => state.rubric.filter(row => row.text.trim());
// What is wrong at a place of a request that was refused.
export const wrongAt = ({ loc, msg }) => `${placeInWords(loc, filled().map(row => state.rubric.indexOf(row)))}: ${msg}`;
const draw = () => { drawRubric(onEdit); onEdit(); };
const boxOf = row => $(`criterion-${row.key}`);

export function drawRubric(onChange) {
  onEdit = onChange;
  $("rubric").replaceChildren(...state.rubric.map((row, index) => rowOf(row, index)));
  $("add-criterion").onclick = () => add();
  $("fix-all").onclick = () => fix(filled());
  drawSum();
  showFindings();
}

function add(after = state.rubric.length - 1) {
  const row = criterion();
  state.rubric.splice(after + 1, 0, row);
  draw();
  boxOf(row).querySelector("textarea").focus();
}

function remove(row, index) {
  state.rubric.splice(index, 1);
  if (!state.rubric.length) state.rubric.push(criterion());
  draw();
  boxOf(state.rubric[Math.max(0, index - 1)]).querySelector("textarea").focus();
}

// The points as they are counted: the polarity decides their sign. Points that are not written count nothing.
const worth = row => (row.points === null ? 0 : row.polarity ? (row.polarity === "positive" ? 1 : -1) * Math.abs(row.points) : row.points);

function drawSum() {
  const rows = filled(), sum = keep => rows.map(worth).filter(keep).reduce((total, points) => total + points, 0);
  $("rubric-sum").textContent = `${plural(rows.length, "criterion", "criteria")}, best ${signed(sum(points => points > 0))}, worst ${signed(sum(points => points < 0))}`;
}

function rowOf(row, index) {
  const name = `c${row.key}`, at = `Criterion ${index + 1}`;
  const touched = () => { drawSum(); onEdit(); };
  const points = el("input", { class: "points n", type: "number", step: "any", "aria-label": `${at}: points`, "aria-invalid": row.points === null && "true", value: row.points ?? "", oninput: event => {
    const value = event.target.valueAsNumber;
    markWrong(event.target, !Number.isFinite(value));
    row.points = Number.isFinite(value) ? value : null;
    paint();
    touched();
  } });
  const box = el("div", { class: "criterion", id: `criterion-${row.key}`, role: "group", "aria-label": at },
    el("div", { class: "line" }, points,
      area({ rows: 1, "aria-label": `${at}: a statement that is true of the response or not`, placeholder: "Names a doctor.", value: row.text, oninput: event => { row.text = event.target.value; touched(); } }),
      el("button", { type: "button", class: "icon", "aria-label": `${at}: more fields`, "aria-expanded": String(Boolean(row.open)), text: "⋯", onclick: () => { row.open = !row.open; draw(); boxOf(row).querySelector("[aria-expanded]").focus(); } }),
      el("button", { type: "button", class: "icon", "aria-label": `Remove criterion ${index + 1}`, text: "✕", onclick: () => remove(row, index) })),
    !row.open && marks(row),
    row.open && more(row, name, touched),
    el("ul", { class: "findings", hidden: true }));
  const paint = () => box.setAttribute("data-sign", worth(row) === 0 ? "none" : worth(row) > 0 ? "wanted" : "fault");
  paint();
  return box;
}

function marks(row) {
  const { category, ...tags } = row.tags ?? {};
  const shown = [category, ...kindMarks(row), row.polarity && polarities[row.polarity],
    ...Object.entries(tags).map(([tag, value]) => (value ? `${tag}: ${value}` : tag))].filter(Boolean);
  return shown.length > 0 && el("div", { class: "row marks" }, ...shown.map(text => el("span", { class: "chip", text: short(text, 60) })));
}

function more(row, name, touched) {
  const parts = () => { const { category = "", ...tags } = row.tags; return { category, tags }; };
  const { category, tags } = parts();
  const put = (chosen, others) => { row.tags = { ...(chosen && { category: chosen }), ...others }; touched(); };
  const field = (label, one) => el("span", { class: "row" }, el("label", { for: one.id, text: label }), one);
  return el("div", { class: "more" },
    el("div", { class: "row" },
      field("Category", el("select", { id: `${name}-category`, onchange: event => put(event.target.value, parts().tags) },
        el("option", { value: "", text: "none" }), ...[...new Set([...CATEGORIES, ...(category ? [category] : [])])].map(one => el("option", { text: one, selected: one === category })))),
      field("Meeting it is", el("select", { id: `${name}-polarity`, onchange: event => { if (event.target.value) row.polarity = event.target.value; else delete row.polarity; touched(); draw(); } },
        ...Object.entries(polarities).map(([value, text]) => el("option", { value, text, selected: value === (row.polarity ?? "") }))))),
    ...kindFields(row, name, touched, id => { draw(); $(id)?.focus(); }),
    field("Tags", el("input", { id: `${name}-tags`, class: "wide", dir: "auto", placeholder: "axis: accuracy, kind: factual", value: Object.entries(tags).map(([tag, value]) => (value ? `${tag}: ${value}` : tag)).join(", "),
      oninput: event => put(parts().category, tagsOf(event.target.value)) })),
    field("Id", el("input", { id: `${name}-id`, value: row.id ?? "", oninput: event => { row.id = event.target.value.trim(); touched(); } })));
}

const tagsOf = text => Object.fromEntries(text.split(",").map(one => one.trim()).filter(Boolean).map(one => { const [tag, ...value] = one.split(":"); return [tag.trim(), value.join(":").trim()]; }));

// The lint.

export const lintLater = later(500, async () => {
  const rows = filled();
  if (!rows.length) { findings = []; return showFindings(); }
  try {
    const body = { rubric: rows.map(onWire), aggregation: state.options.aggregation ?? "healthbench", ...(state.reference.trim() && { reference: state.reference }) };
    const answer = await askJson("v1/rubrics/lint", { body });
    const ids = new Map(rows.map((row, index) => [row.id || String(index), row]));
    findings = answer.findings.map(one => ({ ...one, row: one.criterion === null ? null : ids.get(one.criterion) }));
  } catch (error) {
    const place = error.places?.[0];
    findings = error.kind === "refused" ? [{ code: "not_valid", severity: "error", why: place ? wrongAt(place) : error.message, remedy: "", row: place ? rows[criterionAt(place.loc)] ?? null : null }] : [];
  }
  showFindings();
});

function showFindings() {
  const fixable = findings.filter(one => FIXED.includes(one.code));
  $("fix-all").hidden = fixable.length === 0;
  $("fix-all").textContent = `Fix ${plural(fixable.length, "finding")}`;
  for (const row of state.rubric) list(boxOf(row)?.querySelector(".findings"), findings.filter(one => one.row === row));
  list($("rubric-findings"), findings.filter(one => !one.row));
}

function list(box, found) {
  if (!box) return;
  box.hidden = found.length === 0;
  box.replaceChildren(...found.map(one => el("li", { class: one.severity === "error" ? "bad" : "wait" },
    el("span", { text: `${one.severity === "error" ? "Error" : "Look"}: ${one.why || one.message}${one.remedy ? `; ${one.remedy}` : ""}` }), " ",
    FIXED.includes(one.code) && el("button", { type: "button", class: "plain", text: "Fix it", "aria-label": `Fix: ${one.why}`, onclick: () => fix([one.row]) }))));
}

async function fix(only) {
  const rows = filled();
  const { fixes } = await askJson("v1/rubrics/fix", { body: { rubric: rows.map(onWire) } }).catch(() => ({ fixes: [] }));
  for (const one of fixes.filter(each => only.includes(rows[each.index]))) {
    const row = rows[one.index];
    if (one.criterion) Object.assign(row, { tags: {}, ...one.criterion });
    else state.rubric.splice(state.rubric.indexOf(row), 1);
  }
  draw();
  $("add-criterion").focus();
}

// A pasted rubric. The service reads it, with the readers that the commands have. `replaced` is called with the whole.

export function listenForPastes(replaced) {
  const box = $("paste-box"), text = $("paste-text"), said = $("paste-said");
  $("paste").onclick = () => { box.hidden = !box.hidden; $("paste").setAttribute("aria-expanded", String(!box.hidden)); if (!box.hidden) text.focus(); };
  $("paste-read").onclick = async () => {
    said.className = "hint";
    try {
      const found = await askJson("v1/rubrics/read", { body: { text: text.value, ...(state.options.pitfalls && { pitfalls: state.options.pitfalls }) } });
      if (found.refused) throw new Error(`It was not read: ${found.refused}.`);
      const texts = (found.responses ?? []).filter(one => typeof one === "string");
      const turns = typeof found.prompt === "string" ? [{ role: "user", content: found.prompt }] : found.prompt?.map(({ role, content }) => ({ role, content }));
      replaced({ ...plainState(), rubric: found.criteria, ...(turns && { turns }), ...(texts.length && { responses: texts }), ...(found.reference && { reference: found.reference }) });
      said.textContent = [`Read ${plural(found.criteria.length, "criterion", "criteria")} as ${found.format}.`, ...(found.notes ?? []).map(note => `Note: ${note}.`)].join(" ");
      text.value = "";
    } catch (error) {
      said.className = "small bad";
      said.textContent = error.places?.length ? wrongAt(error.places[0]) : error.message;
    }
  };
}
