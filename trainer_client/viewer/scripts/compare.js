// Pairs the responses of two files, and says what changed between them.
import { fixed, percent, signedFixed, whole } from "shared/writing.js";
import { interval, tile } from "./elements.js";
import { mean } from "./figures.js";

// A pair is the same response to the same prompt; what is left is paired by its prompt and id, in the order of the files.
function paired(data, a, b) {
  const left = side => { const rows = []; for (let i = 0; i < data.n; i++) if (data.file[i] === side) rows.push(i); return rows; };
  const pairs = [];
  const join = (before, after, key) => {
    const waiting = new Map();
    for (const i of before) { const own = key(i); if (waiting.has(own)) waiting.get(own).push(i); else waiting.set(own, [i]); }
    const others = after.filter(i => { const own = waiting.get(key(i)); if (!own || !own.length) return true; pairs.push([own.shift(), i]); return false; });
    return [[...waiting.values()].flat(), others];
  };
  const step = i => data.step[i] === data.step[i] ? data.step[i] : "";
  let rest = join(left(a), left(b), i => `${step(i)}/${data.prompt[i]}/${data.response[i]}/${data.id[i]}`);
  rest = join(...rest, i => `${step(i)}/${data.prompt[i]}/${data.response[i]}`);
  const same = pairs.length;
  rest = join(...rest, i => `${step(i)}/${data.prompt[i]}/${data.id[i]}`);
  pairs.sort((one, other) => one[1] - other[1]);
  return { pairs, same, other: pairs.length - same, onlyBefore: rest[0].length, onlyAfter: rest[1].length };
}

// Of each verdict of row `b` the one of row `a` on the criterion with the same text.
export function matched(data, a, b) {
  const { criterion } = data.said, waiting = new Map(), found = new Map();
  for (let v = data.start[a]; v < data.start[a + 1]; v++) {
    const text = data.criteria[criterion[v]].text;
    if (waiting.has(text)) waiting.get(text).push(v); else waiting.set(text, [v]);
  }
  for (let v = data.start[b]; v < data.start[b + 1]; v++) {
    const own = waiting.get(data.criteria[criterion[v]].text);
    if (own && own.length) found.set(v, own.shift());
  }
  return found;
}

// What a verdict says in 0..1: the share of a level, else 1 where it is met; NaN without a verdict.
function worthOf(data, v) {
  const { met, share } = data.said;
  return share[v] === share[v] ? share[v] : met[v] < 0 ? NaN : met[v];
}

export function isFlipped(data, was, v) {
  const { met, level } = data.said;
  return level[was] >= 0 && level[v] >= 0 ? level[was] !== level[v] : met[was] !== met[v];
}

export function compared(data, a, b) {
  const found = paired(data, a, b), n = found.pairs.length, { criterion } = data.said;
  Object.assign(found, { change: new Float64Array(n), flips: new Int32Array(n), lost: 0, gained: 0, verdicts: 0, toMet: 0, toUnmet: 0, group: new Int32Array(n) });
  const byText = new Map();
  found.pairs.forEach(([before, after], k) => {
    found.change[k] = data.score[after] - data.score[before];
    found.group[k] = data.group[before];
    for (const [v, was] of matched(data, before, after)) {
      const [before, after] = [worthOf(data, was), worthOf(data, v)];
      if (before !== before || after !== after) { found.lost += before === before && after !== after; found.gained += before !== before && after === after; continue; }
      const text = data.criteria[criterion[v]].text;
      if (!byText.has(text)) byText.set(text, { criterion: criterion[v], n: 0, toMet: 0, toUnmet: 0 });
      const own = byText.get(text);
      own.n++; found.verdicts++;
      if (isFlipped(data, was, v)) { found.flips[k]++; if (after >= before) { own.toMet++; found.toMet++; } else { own.toUnmet++; found.toUnmet++; } }
    }
  });
  found.criteria = [...byText.values()];
  addOrder(data, found);
  return found;
}

// Ranks and distances from the mean among the members of a group that have a score on both sides.
function addOrder(data, found) {
  const n = found.pairs.length, groups = new Map();
  for (const name of ["rankBefore", "rankAfter", "lessBefore", "lessAfter"]) found[name] = new Float64Array(n).fill(NaN);
  found.pairs.forEach((_, k) => { if (found.change[k] === found.change[k]) { const own = groups.get(found.group[k]); if (own) own.push(k); else groups.set(found.group[k], [k]); } });
  Object.assign(found, { groups: 0, bestChanged: 0, signs: 0, turned: 0, ordered: 0, orderTurned: 0 });
  for (const members of groups.values()) {
    if (members.length < 2) continue;
    found.groups++;
    const ends = [0, 1].map(side => members.map(k => data.score[found.pairs[k][side]]));
    [["Before", 0], ["After", 1]].forEach(([name, side]) => {
      const scores = ends[side], middle = scores.reduce((sum, one) => sum + one, 0) / scores.length;
      members.forEach((k, at) => {
        const less = scores[at] - middle;
        found[`less${name}`][k] = Math.abs(less) < 1e-9 ? 0 : less;
        found[`rank${name}`][k] = 1 + scores.filter(one => one > scores[at] + 1e-9).length;
      });
    });
    found.bestChanged += members.some(k => (found.rankBefore[k] === 1) !== (found.rankAfter[k] === 1));
    for (const k of members) { found.signs++; found.turned += Math.sign(found.lessBefore[k]) * Math.sign(found.lessAfter[k]) < 0; }
    for (let x = 0; x < members.length; x++) for (let y = 0; y < x; y++) {
      const was = ends[0][x] - ends[0][y], is = ends[1][x] - ends[1][y];
      found.ordered++;
      found.orderTurned += Math.abs(was) > 1e-9 && Math.abs(is) > 1e-9 && was * is < 0;
    }
  }
}

export function comparisonTiles(data, found) {
  const every = Int32Array.from(found.pairs.keys());
  const both = every.filter(k => found.change[k] === found.change[k]);
  const side = at => mean(Float64Array.from(found.pairs, pair => data.score[pair[at]]), found.group, both);
  const change = mean(found.change, found.group, both), flips = found.toMet + found.toUnmet;
  const shareOf = (x, n) => n ? percent(x / n) : "";
  return [
    tile(whole(found.pairs.length), "pairs", [found.other ? `${whole(found.other)} with another answer` : "", found.onlyBefore ? `${whole(found.onlyBefore)} only before` : "", found.onlyAfter ? `${whole(found.onlyAfter)} only after` : ""].filter(Boolean).join(", ")),
    tile(`${fixed(side(0).value)} \u2192 ${fixed(side(1).value)}`, "mean score, of pairs with both"),
    tile(signedFixed(change.value), "paired difference, mean", interval(change), change.low > 0 ? "pass" : change.high < 0 ? "fail" : ""),
    tile(whole(flips), `of ${whole(found.verdicts)} verdicts flipped`, `${whole(found.toMet)} to met, ${whole(found.toUnmet)} to not met`),
    found.lost + found.gained ? tile(whole(found.lost), "verdicts lost", `${whole(found.gained)} gained`) : null,
    found.groups ? tile(shareOf(found.orderTurned, found.ordered), "pairs within groups turned round", `${whole(found.orderTurned)} of ${whole(found.ordered)}`) : null,
    found.groups ? tile(shareOf(found.turned, found.signs), "advantages of the other sign", `${whole(found.turned)} of ${whole(found.signs)}`) : null,
    found.groups ? tile(shareOf(found.bestChanged, found.groups), "groups with another best", `${whole(found.bestChanged)} of ${whole(found.groups)}`) : null,
  ].filter(one => one !== null);
}
