// Shares and means with intervals of 95 % that know of groups: verdicts of one group hang together, so that each counts
// for less than one.

const Z = 1.959963984540054;

// The share x/n with Wilson's interval on the effective number: n divided by the design effect of groups, which is at
// least 1. Where all verdicts agree the effect has no value, and each group counts once.
function share(x, n, groups, xx, xn, nn) {
  if (n === 0) return { n: 0, value: NaN, low: NaN, high: NaN };
  const p = x / n;
  let effective = n;
  if (groups < n) {
    const spread = (xx - 2 * p * xn + p * p * nn) * groups / Math.max(groups - 1, 1) / n / n;
    effective = p === 0 || p === 1 || groups < 2 ? groups : Math.min(n, p * (1 - p) / spread);
  }
  const middle = (p + Z * Z / 2 / effective) / (1 + Z * Z / effective);
  const half = Z / (1 + Z * Z / effective) * Math.sqrt(p * (1 - p) / effective + Z * Z / 4 / effective / effective);
  return { n, value: p, low: Math.max(0, middle - half), high: Math.min(1, middle + half) };
}

// Shares of verdicts that are met, one for each key. `order` holds numbers into `verdict`, sorted by key and then by group.
export function sharesBy(keys, order, keyOf, verdict, data, kept) {
  const found = new Array(keys).fill(null);
  const { met, share: graded } = data.said;
  let key = -1, group = -1, x = 0, n = 0, missing = 0, groups = 0, mixed = 0, pairs = 0, gx = 0, gn = 0, xx = 0, xn = 0, nn = 0;
  const endGroup = () => {
    if (gn > 0) { x += gx; n += gn; groups++; xx += gx * gx; xn += gx * gn; nn += gn * gn; }
    if (gn > 1) { pairs++; if (gx > 0 && gx < gn) mixed++; }
    gx = gn = 0;
  };
  const endKey = () => {
    endGroup();
    if (key >= 0 && n + missing > 0) found[key] = { ...share(x, n, groups, xx, xn, nn), missing, informative: pairs ? mixed / pairs : NaN };
    x = n = missing = groups = mixed = pairs = xx = xn = nn = 0;
  };
  for (let o = 0; o < order.length; o++) {
    const v = verdict(order[o]), row = data.rowOf[v];
    if (!kept[row]) continue;
    if (keyOf(order[o]) !== key) { endKey(); key = keyOf(order[o]); group = -1; }
    if (data.group[row] !== group) { endGroup(); group = data.group[row]; }
    if (met[v] < 0) missing += graded[v] !== graded[v];
    else { gn++; gx += met[v]; }
  }
  endKey();
  return found;
}

// The quantile of Student's t at 97.5 %, by Cornish and Fisher's expansion; within 0.15 % from 6 degrees on.
// Below that it is from a table.
export function student(freedom) {
  const z2 = Z * Z, f = freedom;
  if (f < 6) return [Infinity, 12.7062, 4.3027, 3.1824, 2.7764, 2.5706][Math.max(f, 0)];
  return Z * (1 + (z2 + 1) / 4 / f + (5 * z2 * z2 + 16 * z2 + 3) / 96 / f / f + (3 * z2 ** 3 + 19 * z2 * z2 + 17 * z2 - 15) / 384 / f ** 3);
}

// The mean of the values that there are, with the interval of a mean of whole groups (cluster-robust, Student's t).
// Where all groups have one mean no spread was seen, and an interval would be a point.
export function mean(values, groupOf, rows) {
  const sums = new Map();
  let total = 0, n = 0;
  for (const i of rows) {
    if (values[i] !== values[i]) continue;
    const own = sums.get(groupOf[i]);
    if (own) { own[0] += values[i]; own[1]++; } else sums.set(groupOf[i], [values[i], 1]);
    total += values[i]; n++;
  }
  if (n === 0) return { n, value: NaN, low: NaN, high: NaN };
  const value = total / n, groups = sums.size;
  if (groups < 2) return { n, value, low: NaN, high: NaN };
  let squares = 0;
  for (const [sum, count] of sums.values()) squares += (sum - value * count) ** 2;
  if (squares <= 1e-18 * Math.max(1, value * value) * n * n) return { n, value, low: NaN, high: NaN, unspread: true };
  const half = student(groups - 1) * Math.sqrt(squares * groups / (groups - 1)) / n;
  return { n, value, low: value - half, high: value + half };
}

// How many values fall in each of `bins` equal parts of low..high; the last part holds its end.
export function histogram(values, places, low, high, bins) {
  const counts = new Int32Array(bins);
  for (const i of places) {
    if (values[i] !== values[i]) continue;
    counts[Math.min(bins - 1, Math.max(0, Math.floor((values[i] - low) / (high - low) * bins)))]++;
  }
  return counts;
}

// The range low..high widened to a round step, with its number of steps: at most about twenty.
export function roundRange(low, high) {
  const step = [0.05, 0.1, 0.2, 0.25, 0.5, 1, 2, 5, 10, 20, 50, 100].find(one => (high - low) / one <= 20 + 1e-9) ?? (high - low) / 20;
  const from = Math.floor(low / step + 1e-9), to = Math.ceil(high / step - 1e-9);
  return [from * step, to * step, to - from];
}
