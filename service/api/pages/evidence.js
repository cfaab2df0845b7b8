// What a verdict was made of: the word of each judge, the probability of each level, and a value that was extracted.
import { el } from "shared/dom.js";
import { fixed, plural } from "shared/writing.js";
import { probability } from "./drawing.js";

// The statuses of the contract, in words.
export const STATUS = { abstained: "abstained", timeout: "out of time", overloaded: "judge was full", too_long: "too long to judge", unparseable: "answer not readable", verifier_error: "rule failed", engine_error: "judge failed", cancelled: "stopped" };

const cells = (kind, name, drawn, said) => el("li", { class: kind }, el("span", { dir: "auto", text: name }), drawn, el("span", { class: "n", text: said }));

export function memberRows(verdict, threshold) {
  const members = verdict.members ?? [];
  if (!members.length) return null;
  const met = members.filter(one => one.met === true).length, said = members.filter(one => one.status === "ok").length;
  const word = one => (one.status !== "ok" ? STATUS[one.status] ?? one.status : one.met ? "met" : "not met");
  return el("div", { class: "inside small" },
    el("p", { class: "soft", text: `${plural(members.length, "judge")}, ${met} of ${said} say met${typeof verdict.disagreement === "number" ? `, their P(met) differ by ${fixed(verdict.disagreement, 2)}` : ""}` }),
    el("ul", {}, ...members.map(one => cells(one.status === "ok" && one.met !== verdict.met ? "dissent" : "", one.judge, one.status === "ok" ? probability(one.p ?? null, null, threshold) : el("span"), [word(one), fixed(one.p, 2)].filter(Boolean).join(" ")))));
}

export function levelRows(verdict, row) {
  const options = row?.levels ?? row?.choices;
  if (!verdict.p_levels || !options) return null;
  const named = verdict.p_levels.map((p, index) => [p, index, options[index]?.text ?? `${index + 1}`]);
  const likely = named.length > 12 ? [...named].sort((a, b) => b[0] - a[0]).slice(0, 12) : named;
  return el("div", { class: "inside small" },
    likely.length < named.length && el("p", { class: "soft", text: `The 12 most likely of ${named.length}` }),
    el("ul", {}, ...likely.map(([p, index, text]) => cells(index === verdict.level ? "chosen" : "", `${index + 1}: ${text}`, probability(p, null, null), fixed(p, 2)))));
}

export const extractedText = verdict => (verdict.extracted ? el("p", { class: "inside small extracted" }, el("span", { class: "soft", text: "Extracted: " }), el("bdi", { text: verdict.extracted })) : null);
