// Draws shares, bounds and probabilities as SVG. Whatever is drawn is also said in words beside it.
//
// Places along a drawing are shares of its width, and all else is in pixels: so nothing is stretched, whatever the width.
import { el, svg } from "shared/dom.js";

const EDGE = 2; // percent left free at both ends, for marks

export function scaleOf(ends) {
  const low = Math.min(0, ...ends), high = Math.max(1, ...ends);
  return value => EDGE + ((value - low) / (high - low)) * (100 - 2 * EDGE);
}

const percentAt = at => `${Math.round(at * 1000) / 1000}%`;
const frame = (height, kind, ...inner) => svg("svg", { class: kind, height, "aria-hidden": "true" }, ...inner);
const line = (at, from, to, kind) => svg("line", { x1: percentAt(at), x2: percentAt(at), y1: from, y2: to, class: kind });
const bar = (from, to, y, height, kind) => svg("rect", { x: percentAt(Math.min(from, to)), width: percentAt(Math.abs(to - from)), y, height, class: kind });
const tick = (at, y, height, kind, ...inner) => svg("rect", { x: percentAt(at), width: 3, y, height, transform: "translate(-1.5 0)", class: kind }, ...inner);

// One row of the waterfall; the lines join it to the rows above and below, however high this one is.
export function stepBar(step, at) {
  const ends = step.to === undefined ? [bar(at(step.low), at(step.high), 12, 12, "unjudged"), line(at(step.from), 0, "100%", "join")]
    : step.to === step.from ? [line(at(step.from), step.first ? 12 : 0, "100%", "join"), tick(at(step.from), 12, 12, "still")]
    : [bar(at(step.from), at(step.to), 12, 12, step.total ? "total" : step.to < step.from ? "loss" : "gain"),
      !step.first && line(at(step.from), 0, 12, "join"),
      !step.total && line(at(step.to), 24, "100%", "join")];
  return frame("100%", "steps", line(at(0), 0, "100%", "zero"), ...ends.filter(Boolean));
}

// The reward on its axis, in the band of what it could have been.
export function rewardAxis(score, bounds) {
  const [low, high] = bounds ?? [score ?? 0, score ?? 0];
  const at = scaleOf([low, high, score ?? low]);
  return frame(22, "axis", bar(EDGE, 100 - EDGE, 9, 4, "track"), low !== high && bar(at(low), at(high), 7, 8, "band"),
    line(at(0), 2, 20, "zero"), line(at(1), 2, 20, "zero"), score !== null && tick(at(score), 2, 18, "mark"));
}

export function probability(p, raw, threshold) {
  if (p === null && raw === null) return el("span", { class: "soft", text: "–" });
  return frame(12, "probability", bar(0, 100, 3, 6, "track"), bar(0, 100 * (p ?? raw), 3, 6, "fill"),
    raw !== null && p !== null && Math.abs(raw - p) > 1e-9 && tick(100 * raw, 0, 12, "raw"), threshold !== null && line(100 * threshold, 0, 12, "zero"));
}

// The rewards of a group, each with its name under it, about their mean.
export function spread(scores, mean, std, names) {
  const there = scores.filter(score => score !== null), at = scaleOf([...there, mean - (std ?? 0), mean + (std ?? 0)]);
  const equal = new Map();
  scores.forEach((score, index) => { if (score !== null) equal.set(score, [...(equal.get(score) ?? []), names[index]]); });
  return frame(44, "axis spread", bar(EDGE, 100 - EDGE, 12, 3, "track"), std !== null && bar(at(mean - std), at(mean + std), 9, 9, "band"), line(at(mean), 2, 25, "join"),
    ...[...equal].flatMap(([score, same]) => [tick(at(score), 4, 19, "mark"), svg("text", { x: percentAt(at(score)), y: 38, "text-anchor": "middle", text: same.length > 4 ? `${same.length} of them` : same.join(" ") })]));
}
