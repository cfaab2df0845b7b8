// Shows why a response got its score: the reward in its bounds, and each criterion with its share of it.
import { el } from "shared/dom.js";
import { fixed, number, plural, short, signed, signedFixed } from "shared/writing.js";
import { probability, rewardAxis, scaleOf, stepBar } from "./drawing.js";
import { extractedText, levelRows, memberRows, STATUS } from "./evidence.js";
import { AGGREGATIONS, aggregationName, bodyOf } from "./options.js";
import { askJson } from "./service.js";
import { steps } from "./shares.js";

const graded = verdict => typeof verdict.level === "number";
export const verdictWord = verdict => (verdict.status !== "ok" ? STATUS[verdict.status] ?? verdict.status : graded(verdict) ? `level ${verdict.level + 1}${verdict.p_levels ? ` of ${verdict.p_levels.length}` : ""}` : verdict.met ? "met" : "not met");
function verdictKind(verdict) {
  if (verdict.status !== "ok") return "wait";
  if (verdict.points === 0) return "soft";
  return verdict.met === verdict.points > 0 ? "good" : "bad";
}
const MARK = { good: "✓", bad: "✗", wait: "!", soft: "·" };

export const badge = verdict => el("span", { class: `verdict ${verdictKind(verdict)}` }, el("span", { "aria-hidden": "true", class: "mark", text: MARK[verdictKind(verdict)] }), verdictWord(verdict));

export function headline(result) {
  const scored = result.score !== null, bounds = result.score_bounds;
  const said = bounds === null ? "No criterion has points, so nothing counts." : bounds[0] === bounds[1] ? "" : `Between ${number(bounds[0])} and ${number(bounds[1])}, however the rest would come out.`;
  return el("div", { class: "headline" },
    el("div", { class: "reward" }, el("span", { class: "soft small", text: "Reward" }), el("b", { class: `n score ${scored ? "" : "none"}`, text: scored ? fixed(result.score) : "no score" })),
    el("div", { class: "facts" },
      bounds !== null && el("div", {}, rewardAxis(result.score, bounds), el("div", { class: "row between small soft n" }, el("span", { text: number(Math.min(0, bounds[0], result.score ?? 0)) }), el("span", { text: number(Math.max(1, bounds[1], result.score ?? 0)) }))),
      el("p", { class: "small" }, el("span", { class: `badge ${result.status === "ok" ? "good" : "wait"}`, text: { ok: "judged", partial: "judged in part", failed: "not judged" }[result.status] }), " ",
        el("span", { class: "coverage", text: `${Math.round(100 * result.coverage)} % of the points judged. ${said}` }))));
}

export function ratingOf(result) {
  const rated = result.rating;
  return rated ? el("p", {}, el("b", { text: `Rated ${number(rated.expected, 2)} of 10` }), `, most likely ${rated.most_likely}.`) : el("p", { class: "wait", text: `Not rated: ${result.criteria[0]?.detail ?? STATUS[result.criteria[0]?.status] ?? "no reason was given"}.` });
}

// `asked` is what was sent: rubric, body and options.
export function whyOf(result, asked, info) {
  const { rubric, options } = asked;
  const shares = steps(result, rubric, options), threshold = options.threshold ?? 0.5;
  const at = shares && scaleOf([shares.from, shares.sum, result.score ?? 0, ...shares.steps.filter(Boolean).flatMap(step => [step.to ?? step.low, step.to ?? step.high])]);
  const name = aggregationName(options);
  const rows = result.criteria.map((verdict, index) => whyRow(verdict, rubric[index], shares?.steps[index], at, { threshold, asked, info, index, first: shares?.steps.findIndex(Boolean) === index }));
  const last = shares && [
    shares.rest && stepRow("Clipping and corrections", { from: shares.sum, to: shares.sum + shares.rest }, at, shareText(shares.rest)),
    result.score !== null && stepRow("Reward", { from: 0, to: result.score, total: true, first: true }, at, fixed(result.score))].filter(Boolean);
  return el("div", { class: "why" },
    el("p", { class: "hint", text: `${name}: ${AGGREGATIONS[name]}.${shares ? "" : " It is no sum, so criteria have no shares of it."}` }),
    el("ul", { class: "steps-list" }, el("li", { class: "step heads small soft", "aria-hidden": "true" }, el("span", { text: "Criterion" }), el("span", { text: "P(met)" }), el("span", { text: shares ? "Share of the reward" : "" })), ...rows, ...(last || [])),
    marksSaid(result, threshold));
}

// What the marks on the bars of P(met) are, where there are any.
function marksSaid(result, threshold) {
  const there = result.criteria.filter(one => typeof (one.p ?? one.p_raw) === "number");
  const moved = there.some(one => typeof one.p === "number" && typeof one.p_raw === "number" && Math.abs(one.p - one.p_raw) > 5e-4);
  return there.length > 0 && el("p", { class: "hint marks-said", text: `P(met) is the judge's probability that the criterion is met. The thin line is the threshold, ${number(threshold)}.${moved ? " The thick mark is the raw P(met), before it was calibrated." : ""}` });
}

function stepRow(text, step, at, said) {
  return el("li", { class: `step last ${step.total ? "sum" : ""}` }, el("div", { class: "what" }, el("b", { text })), el("div", { class: "share" }, el("span", { class: "name" }), stepBar(step, at), el("span", { class: "n", text: said })));
}

const shareText = value => (Math.abs(value) < 5e-4 ? "0" : signedFixed(value));

function whyRow(verdict, row, step, at, context) {
  const p = verdict.p ?? null, raw = verdict.p_raw ?? null;
  const said = verdict.points === 0 ? "not counted" : !step ? "" : step.to === undefined ? `${shareText(step.low - step.from)} to ${shareText(step.high - step.from)}` : shareText(step.to - step.from);
  const facts = [verdict.source === "judge" ? "" : verdict.source, raw !== null && p !== null && Math.abs(p - raw) > 5e-4 && `raw ${fixed(raw)}`,
    typeof verdict.disagreement === "number" && !verdict.members && `two askings differ by ${number(verdict.disagreement)}`, typeof verdict.label_mass === "number" && verdict.label_mass < 0.9 && `label mass ${number(verdict.label_mass, 2)}`].filter(Boolean);
  const note = el("div", { class: "explanation", "aria-live": "polite" });
  if (verdict.explanation) note.append(el("p", { dir: "auto", text: verdict.explanation }));
  return el("li", { class: "step", "data-criterion": verdict.id },
    el("div", { class: "what" },
      el("p", { dir: "auto", class: "text", text: row?.text ?? verdict.id }),
      el("div", { class: "row small" }, badge(verdict), el("span", { class: "soft n", text: `${signed(verdict.points)} ${Math.abs(verdict.points) === 1 ? "point" : "points"}` }), ...facts.map(text => el("span", { class: "chip n", text })),
        explainButton(verdict, row, note, context)),
      verdict.detail && el("p", { class: "small wait", text: verdict.detail }),
      extractedText(verdict), memberRows(verdict, context.threshold), levelRows(verdict, row), note),
    el("div", { class: "p" }, el("span", { class: "name", text: "P(met)" }), probability(p, raw, context.threshold), el("span", { class: "n small", text: fixed(p ?? raw) })),
    el("div", { class: "share" }, el("span", { class: "name", text: step ? "Share" : "" }), step ? stepBar({ ...step, first: context.first }, at) : el("span"), el("span", { class: "n", text: said })));
}

// Asks the judge for its reasons, about this criterion alone.
function explainButton(verdict, row, note, { asked, info }) {
  if (verdict.explanation || verdict.source === "rule" || !row) return null;
  const serves = info?.modes.includes("reasoned"), why = info?.unserved?.find(one => one.mode === "reasoned" && !one.batch)?.reason;
  const button = el("button", { type: "button", class: "plain", text: "Explain", "aria-label": `Explain: ${short(row.text, 60)}` });
  button.onclick = async () => {
    if (!serves) return note.replaceChildren(el("p", { class: "small wait", text: `This judge gives no reasons: ${why ?? "it does not serve mode reasoned"}.` }));
    button.disabled = true;
    note.replaceChildren(el("p", { class: "small soft", text: "The judge writes its reasons…" }));
    try {
      const body = bodyOf({ ...(asked.options.judge && { judge: asked.options.judge }), ...(asked.options.reasoning && { reasoning: asked.options.reasoning }), mode: "reasoned" });
      const item = { ...asked.body.items[0], rubric: [{ ...asked.body.items[0].rubric[Number(asked.rubric.indexOf(row))] }] };
      delete item.responses;
      const answer = await askJson("v1/score", { body: { ...body, items: [{ ...item, response: asked.response }] } });
      const told = answer.results[0].criteria[0];
      const other = told.status === "ok" && verdictWord(told) !== verdictWord(verdict);
      note.replaceChildren(el("p", { dir: "auto", text: told.explanation ?? `No reasons: ${told.detail ?? told.status}.` }),
        el("p", { class: `small ${other ? "wait" : "soft"}`, text: told.status === "ok" ? `With its reasons it says: ${verdictWord(told)}.${other ? " That is another verdict than the one that was scored." : ""}` : "" }));
    } catch (error) {
      note.replaceChildren(el("p", { class: "small bad", text: error.message }));
    } finally { button.disabled = false; }
  };
  return button;
}

export function warningsOf(result) {
  const found = (result.warnings ?? []).filter(one => one.code !== "toy_judge");
  return found.length ? el("div", { class: "notice warnings" }, ...found.map(one => el("p", { text: `${one.code}: ${one.detail}` }))) : null;
}

export function spentOf(answer, ms) {
  const { judge, usage } = answer;
  return el("p", { class: "small soft spent", text: [judge.name, judge.model, `fingerprint ${judge.fingerprint}`, judge.calibration && `calibration ${judge.calibration}`, plural(usage.judgements, "judgement"), usage.cache_hits > 0 && `${usage.cache_hits} from the cache`, `${usage.prompt_tokens + usage.completion_tokens} tokens`, `${Math.round(ms)} ms`].filter(Boolean).join(" · ") });
}
