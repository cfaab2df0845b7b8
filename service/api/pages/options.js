// The options of a request: judge, mode, layout, aggregation and the rest, as fields that say what they do.
import { el } from "shared/dom.js";
import { filled, onWire } from "./rubric.js";
import { state } from "./state.js";

const MODES = { verdict: "yes or no, by label probabilities", reasoned: "reasons first, then says yes or no", implicit: "one rating of the whole, with the rubric", likert: "one rating of the whole, without a rubric" };
const ONE = { tag: "text", tag_value: "text" };
export const AGGREGATIONS = {
  healthbench: "points that were earned, over the points that could be",
  healthbench_clipped: "the same, not below 0",
  rar_explicit: "mean, weighted by category",
  weighted_abs: "mean, weighted by the size of the points",
  mean: "mean, whatever the points",
  min: "the worst criterion decides",
  all_pass: "1 where everything passes, else 0",
  gated: "0 unless every essential criterion passes",
  conjunctive: "a dimension counts whole or not at all",
  factual_gate: "1 where all that is factual passes",
  veto: "0 where a criterion with the tag fails",
  caps: "a dimension counts in full from a share of it",
  saturation: "later steps of a dimension count less",
};
const AGGREGATION_OPTIONS = {
  rar_explicit: { essential: "number", important: "number", optional: "number", pitfall: "number" },
  conjunctive: { tag: "text" }, factual_gate: ONE, veto: ONE, caps: { tag: "text", cap: "number" }, saturation: { tag: "text", half_saturation: "number" },
};

const rating = o => ["implicit", "likert"].includes(o.mode);
const plainVerdict = o => (o.mode ?? "verdict") === "verdict" && (o.layout ?? "rubricd") === "rubricd";
const MORE = [
  ["soft", "Soft: P(met) counts, not met or not met", "check"],
  ["threshold", "Met from this P(met) on", "number", { min: 0, max: 1, step: 0.05, placeholder: "0.5" }],
  ["consistency", "Ask each criterion twice, as true and as false", "twice", {}, plainVerdict],
  ["votes", "Votes", "number", { min: 1, max: 16, step: 1, placeholder: "1" }, o => o.mode === "reasoned"],
  ["batch", "Answer all criteria of a response in one document", "check", { on: "all" }, o => o.mode === "reasoned" && (o.layout ?? "rubricd") === "rubricd"],
  ["rating_norm", "How 1 to 10 becomes the score", "choice", ["(r-1)/9", "r/10"], rating],
  ["min_coverage", "Share of the points that must be judged", "number", { min: 0, max: 1, step: 0.05, placeholder: "1" }],
  ["unjudged", "Score where some is not judged", "choice", ["", "lower", "middle"]],
  ["debias", "Correct the score by the judge's certificate", "check", {}, o => !rating(o) && !o.soft],
  ["pitfalls", "Meeting a pitfall is", "choice", ["", "met_is_bad", "met_is_good"]],
  ["cache", "Cache", "choice", ["use", "refresh", "bypass"]],
  ["priority", "Priority", "choice", ["interactive", "eval", "train"]],
];

export const aggregationName = o => (typeof o.aggregation === "object" ? o.aggregation.name : o.aggregation) ?? "healthbench";

// Draws the fields of `chosen` into `box`. `infoOf` knows each judge by its name. `again` draws them anew where a choice changes which there are.
export function drawOptions(box, chosen, infoOf, prefix, changed) {
  const info = infoOf(chosen.judge);
  const again = () => { drawOptions(box, chosen, infoOf, prefix, changed); changed(); };
  const put = (name, value) => { if (value === undefined || value === "") delete chosen[name]; else chosen[name] = value; };
  const named = (label, one, hint) => el("div", { class: "field" }, el("label", { for: one.id, text: label }), one, hint && el("span", { class: "hint", text: hint }));
  const select = (name, label, choices, hint) => named(label, el("select", { id: `${prefix}-${name}`, onchange: event => { put(name, event.target.value === choices[0][0] ? "" : event.target.value); again(); keepFocus(`${prefix}-${name}`); } },
    ...choices.map(([value, text, why]) => el("option", { value, text: why ? `${text} (not now)` : text, disabled: Boolean(why), selected: value === String(chosen[name] ?? choices[0][0]) }))), hint);
  const unserved = info?.unserved ?? [], prompts = info?.prompts ?? [], judges = info?.deployed ?? [];
  const modes = Object.keys(MODES).map(mode => [mode, mode, info && !info.modes.includes(mode)]);
  const layouts = [...new Set(["rubricd", ...(info?.layouts ?? [])])].map(layout => [layout, layout]);
  const missing = unserved.find(one => one.mode === (chosen.mode ?? "verdict") && one.layout === (chosen.layout ?? "rubricd") && !one.prompt && !one.batch);
  const aggregation = aggregationName(chosen);
  box.replaceChildren(el("div", { class: "fields" },
    judges.length > 1 && select("judge", "Judge", judges.map(one => [one.name, `${one.name} (${one.kind})`, !one.ready && one.reason]), judges.find(one => one.name === (chosen.judge ?? judges[0].name))?.reason ?? ""),
    select("mode", "Mode", modes, missing ? missing.reason : MODES[chosen.mode ?? "verdict"]),
    layouts.length > 1 && select("layout", "Layout", layouts, "how the judge is asked"),
    prompts.length > 1 && plainVerdict(chosen) && select("judge_prompt", "Judge prompt", prompts.map((one, index) => [index ? one.name : "", one.name, !one.served && one.reason]), prompts.find(one => one.name === chosen.judge_prompt)?.description ?? prompts[0].description),
    named("Aggregation", el("select", { id: `${prefix}-aggregation`, onchange: event => { put("aggregation", event.target.value === "healthbench" ? "" : event.target.value); again(); keepFocus(`${prefix}-aggregation`); } },
      ...Object.keys(AGGREGATIONS).map(name => el("option", { text: name, selected: name === aggregation }))), AGGREGATIONS[aggregation]),
    ...Object.entries(AGGREGATION_OPTIONS[aggregation] ?? {}).map(([name, kind]) => aggregationOption(chosen, aggregation, name, kind, prefix, changed)),
    reasoning(chosen, prefix, changed, again, named)),
    el("details", { open: box.querySelector("details")?.open ?? false }, el("summary", { text: "More options" }),
      el("div", { class: "fields" }, ...MORE.filter(([, , , , when]) => !when || when(chosen)).map(one => moreOption(chosen, one, prefix, put, changed)))));
}

const keepFocus = id => document.getElementById(id)?.focus();

function aggregationOption(chosen, aggregation, name, kind, prefix, changed) {
  const weights = aggregation === "rar_explicit", id = `${prefix}-aggregation-${name}`;
  const has = typeof chosen.aggregation === "object" ? (weights ? chosen.aggregation.category_weights?.[name] : chosen.aggregation[name]) : undefined;
  const put = event => {
    const value = event.target.value === "" ? undefined : kind === "number" ? Number(event.target.value) : event.target.value;
    const now = typeof chosen.aggregation === "object" ? chosen.aggregation : { name: aggregation };
    chosen.aggregation = JSON.parse(JSON.stringify(weights ? { ...now, category_weights: { ...now.category_weights, [name]: value } } : { ...now, [name]: value }));
    changed();
  };
  return el("div", { class: "field" }, el("label", { for: id, text: weights ? `Weight of ${name}` : name.replace("_", " ") }),
    el("input", { id, type: kind, step: "any", placeholder: "default", value: has ?? "", oninput: put }));
}

function reasoning(chosen, prefix, changed, again, named) {
  const tags = typeof chosen.reasoning === "object" ? chosen.reasoning : null;
  const pick = event => { const how = event.target.value; if (how === "keep") delete chosen.reasoning; else chosen.reasoning = how === "tags" ? { open: "<think>", close: "</think>" } : how; again(); keepFocus(`${prefix}-reasoning`); };
  const tag = name => named(`Tag that ${name}s it`, el("input", { id: `${prefix}-${name}`, value: tags[name], oninput: event => { tags[name] = event.target.value; changed(); } }));
  return [named("Reasoning in a response", el("select", { id: `${prefix}-reasoning`, onchange: pick }, ...[["keep", "is judged"], ["remove", "is taken off"], ["tags", "is taken off, by these tags"]].map(([value, text]) => el("option", { value, text, selected: value === (tags ? "tags" : chosen.reasoning ?? "keep") })))),
    ...(tags ? [tag("open"), tag("close")] : [])];
}

function moreOption(chosen, [name, label, kind, more], prefix, put, changed) {
  const id = `${prefix}-${name}`, has = chosen[name];
  const touched = value => { put(name, value); changed(); };
  if (kind === "check" || kind === "twice") return el("div", { class: "field across row" }, el("input", { id, type: "checkbox", checked: kind === "twice" ? has === 2 : Boolean(has), onchange: event => touched(event.target.checked ? (kind === "twice" ? 2 : more?.on ?? true) : undefined) }), el("label", { for: id, text: label }));
  if (kind === "choice") return el("div", { class: "field" }, el("label", { for: id, text: label }), el("select", { id, onchange: event => touched(event.target.value === more[0] ? undefined : event.target.value) }, ...more.map(value => el("option", { value, text: value || "not said", selected: value === (has ?? more[0]) }))));
  return el("div", { class: "field" }, el("label", { for: id, text: label }), el("input", { id, type: "number", ...more, value: has ?? "", oninput: event => touched(event.target.value === "" ? undefined : Number(event.target.value)) }));
}

// The body of the request, with what differs from its defaults.
export function bodyOf(chosen) {
  const prompt = state.turns.length === 1 && state.turns[0].role === "user" ? state.turns[0].content : state.turns.map(turn => ({ ...turn }));
  const several = state.responses.length > 1;
  const relevant = Object.fromEntries(Object.entries(chosen).filter(([name]) => { const one = MORE.find(([other]) => other === name); return !one?.[4] || one[4](chosen); }));
  if (!plainVerdict(chosen)) delete relevant.judge_prompt;
  const rubric = filled().map(onWire);
  return { items: [{ prompt, ...(several ? { responses: [...state.responses] } : { response: state.responses[0] }), ...((rubric.length || chosen.mode !== "likert") && { rubric }), ...(state.reference.trim() && { reference: state.reference }) }],
    priority: "interactive", ...relevant };
}

export const wayOf = chosen => [chosen.judge, chosen.mode ?? "verdict", chosen.layout, chosen.judge_prompt, chosen.consistency === 2 && "asked twice", chosen.batch && "in one document", chosen.soft && "soft", aggregationName(chosen)].filter(Boolean).join(" · ");
