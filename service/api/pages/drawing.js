// Draws shares, bounds and probabilities as SVG. Whatever is drawn is also said in words beside it.
import { el, svg } from "shared/dom.js";

const WIDE = 200;

export function scaleOf(ends) {
  const low = Math.min(0, ...ends), high = Math.max(1, ...ends);
  return value => ((value - low) / (high - low)) * (WIDE - 8) + 4;
}

const frame = (height, kind, ...inner) => svg("svg", { viewBox: `0 0 ${WIDE} ${height}`, preserveAspectRatio: "none", class: kind, "aria-hidden": "true" }, ...inner);
const line = (x, height, kind) => svg("line", { x1: x, x2: x, y1: 0, y2: height, class: kind, "vector-effect": "non-scaling-stroke" });
const bar = (from, to, y, height, kind) => svg("rect", { x: Math.min(from, to), width: Math.max(Math.abs(to - from), 1), y, height, class: kind });

// One row of the waterfall; the lines join it to the rows above and below.
export function stepBar(step, at) {
  const ends = step.to === undefined ? [bar(at(step.low), at(step.high), 6, 12, "unjudged"), line(at(step.from), 24, "join")]
    : [bar(at(step.from), at(step.to), 6, 12, step.total ? "total" : step.to < step.from ? "loss" : step.to > step.from ? "gain" : "still"),
      !step.first && svg("line", { x1: at(step.from), x2: at(step.from), y1: 0, y2: 6, class: "join", "vector-effect": "non-scaling-stroke" }),
      !step.total && svg("line", { x1: at(step.to), x2: at(step.to), y1: 18, y2: 24, class: "join", "vector-effect": "non-scaling-stroke" })];
  return frame(24, "steps", line(at(0), 24, "zero"), ...ends.filter(Boolean));
}

// The reward on its axis, in the band of what it could have been.
export function rewardAxis(score, bounds) {
  const [low, high] = bounds ?? [score ?? 0, score ?? 0];
  const at = scaleOf([low, high, score ?? low]);
  return frame(22, "axis", svg("rect", { x: 4, width: WIDE - 8, y: 9, height: 4, class: "track" }), low !== high && bar(at(low), at(high), 7, 8, "band"),
    line(at(0), 22, "zero"), line(at(1), 22, "zero"), score !== null && bar(at(score) - 1.2, at(score) + 1.2, 2, 18, "mark"));
}

export function probability(p, raw, threshold) {
  if (p === null && raw === null) return el("span", { class: "soft", text: "–" });
  const at = value => value * WIDE;
  return frame(12, "probability", svg("rect", { x: 0, width: WIDE, y: 3, height: 6, class: "track" }), bar(0, at(p ?? raw), 3, 6, "fill"),
    raw !== null && p !== null && Math.abs(raw - p) > 1e-9 && bar(at(raw) - 1, at(raw) + 1, 0, 12, "raw"), threshold !== null && line(at(threshold), 12, "zero"));
}

export function spread(scores, mean, std, names) {
  const there = scores.filter(score => score !== null);
  const at = scaleOf([...there, mean - (std ?? 0), mean + (std ?? 0)]);
  return frame(26, "axis spread", svg("rect", { x: 4, width: WIDE - 8, y: 12, height: 3, class: "track" }), std !== null && bar(at(mean - std), at(mean + std), 9, 9, "band"), line(at(mean), 26, "join"),
    ...scores.map((score, index) => score !== null && svg("rect", { x: at(score) - 1, width: 2, y: 4, height: 19, class: "mark" }, svg("title", { text: names[index] }))).filter(Boolean));
}
