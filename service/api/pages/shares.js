// What each criterion adds to the score. Pure.
//
// An aggregation that is a sum has shares: they begin at 0 and end at the score. Others have none, and null says so.
import { aggregationName } from "./options.js";

const WEIGHTS = { essential: 1, important: 0.7, optional: 0.3, pitfall: 0.9 };

// A graded criterion is worth the value of its level, and with soft the value that is expected.
function valueOf(verdict, row, soft) {
  if (verdict.status !== "ok") return null;
  const level = (row?.levels ?? row?.choices)?.[verdict.level];
  if (level) return soft ? verdict.value : level.value;
  return soft ? verdict.p : verdict.met ? 1 : 0;
}

// One step a criterion: { from, to } where it was judged, { from, low, high } where it was not; null where it does not count.
export function steps(result, rubric, options) {
  const name = aggregationName(options);
  const rows = result.criteria.map((verdict, index) => ({ verdict, points: verdict.points, category: rubric[index]?.tags?.category, value: valueOf(verdict, rubric[index], options.soft) }));
  const counted = rows.filter(row => row.points !== 0);
  const share = shareOf(name, counted, options);
  if (!share || !counted.length) return null;
  let at = share.from;
  const found = rows.map(row => {
    if (row.points === 0) return null;
    if (row.value === null) {
      const ends = [share.of(row, 0), share.of(row, 1)];
      return { from: at, low: at + Math.min(...ends), high: at + Math.max(...ends) };
    }
    const step = { from: at, to: at + share.of(row, row.value) };
    at = step.to;
    return step;
  });
  const rest = result.score === null ? 0 : result.score - at;
  return { steps: found, from: share.from, sum: at, rest: Math.abs(rest) >= 5e-4 ? rest : 0 };
}

function shareOf(name, rows, options) {
  const sum = of => rows.reduce((total, row) => total + of(row), 0);
  if (name === "healthbench" || name === "healthbench_clipped") {
    const best = sum(row => Math.max(row.points, 0)), worst = sum(row => Math.max(-row.points, 0));
    return { from: best || name === "healthbench" ? 0 : 1, of: (row, value) => (row.points * value) / (best || worst) };
  }
  const good = (row, value) => (row.points > 0 ? value : 1 - value);
  if (name === "mean") return { from: 0, of: (row, value) => good(row, value) / rows.length };
  const categories = name === "rar_explicit" && rows.every(row => Object.hasOwn(WEIGHTS, row.category ?? ""));
  if (name !== "weighted_abs" && !(name === "rar_explicit" && (categories || rows.every(row => !row.category)))) return null;
  const weights = { ...WEIGHTS, ...(typeof options.aggregation === "object" ? options.aggregation.category_weights : {}) };
  const weight = row => (categories ? weights[row.category] : Math.abs(row.points));
  const all = sum(weight);
  return { from: 0, of: (row, value) => (weight(row) * good(row, value)) / all };
}

// As trainers compute them from the rewards of a group: TRL's standard deviation divides by n - 1, and it adds 1e-4.
export function advantages(scores) {
  const there = scores.filter(score => score !== null);
  if (there.length < 2) return { mean: there[0] ?? null, std: null, each: scores.map(() => null) };
  const mean = there.reduce((sum, score) => sum + score, 0) / there.length;
  const std = Math.sqrt(there.reduce((sum, score) => sum + (score - mean) ** 2, 0) / (there.length - 1));
  return { mean, std, each: scores.map(score => (score === null ? null : (score - mean) / (std + 1e-4))) };
}
