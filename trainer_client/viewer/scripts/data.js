// Reads the columns that the page holds into typed arrays. Missing numbers are NaN, missing texts and verdicts are -1.

function spread(column, n, missing, Kind) {
  const made = new Kind(n).fill(missing);
  if (column === null || column === undefined) return made;
  if (!Array.isArray(column)) return made.fill(column.all);
  for (let i = 0; i < n; i++) if (column[i] !== null) made[i] = column[i];
  return made;
}

function numbers(table, name) { return spread(table[name], table.n, NaN, Float64Array); }
function places(table, name) { return spread(table[name], table.n, -1, Int32Array); }

export function decode(raw) {
  const { rows, verdicts, texts } = raw;
  const data = { files: raw.files, texts, talks: raw.talks, tags: raw.tags, groups: raw.groups, n: rows.n, v: verdicts.n };
  for (const name of ["file", "id", "group", "prompt", "response", "status", "detail", "judge"]) data[name] = places(rows, name);
  for (const name of ["score", "reward", "advantage", "coverage", "low", "high", "step"]) data[name] = numbers(rows, name);
  data.start = new Int32Array(rows.n + 1);
  raw.ends.forEach((end, i) => { data.start[i + 1] = end; });
  data.rowOf = new Int32Array(verdicts.n);
  for (let i = 0; i < rows.n; i++) data.rowOf.fill(i, data.start[i], data.start[i + 1]);
  const of = { n: verdicts.n };
  for (const name of ["criterion", "status", "source", "explanation", "detail", "level", "extracted"]) of[name] = places(verdicts, name);
  for (const name of ["p", "raw", "value"]) of[name] = numbers(verdicts, name);
  of.met = spread(verdicts.met, verdicts.n, -1, Int8Array);
  for (const name of ["levels", "members"]) of[name] = i => verdicts[name] === null ? null : Array.isArray(verdicts[name]) ? verdicts[name][i] : verdicts[name].all;
  of.share = shares(of);
  data.said = of;
  data.criteria = raw.criteria.map(([text, points, tags]) => ({ text, points, tags }));
  data.fault = Uint8Array.from(data.criteria, one => one.points < 0 ? 1 : 0);
  addGroups(data);
  return data;
}

// The share of its points that a verdict of a level earns; NaN where it has no level.
function shares(of) {
  const found = new Float64Array(of.n).fill(NaN);
  for (let v = 0; v < of.n; v++) {
    if (of.level[v] >= 0) found[v] = of.levels(v)?.find(one => one[0] === of.level[v])?.[2] ?? of.value[v];
    else if (of.met[v] < 0) found[v] = of.value[v];
  }
  return found;
}

// Each response's place and distance within its group: `less` is its score less the mean of the group's scores.
function addGroups(data) {
  const sum = new Float64Array(data.groups), n = new Int32Array(data.groups);
  data.members = Array.from({ length: data.groups }, () => []);
  for (let i = 0; i < data.n; i++) {
    data.members[data.group[i]].push(i);
    if (data.score[i] === data.score[i]) { sum[data.group[i]] += data.score[i]; n[data.group[i]]++; }
  }
  data.less = new Float64Array(data.n).fill(NaN);
  data.rank = new Float64Array(data.n).fill(NaN);
  for (const members of data.members) {
    const scored = members.filter(i => data.score[i] === data.score[i]);
    if (members.length < 2) continue;
    for (const i of scored) {
      const g = data.group[i];
      data.less[i] = data.score[i] - sum[g] / n[g];
      if (Math.abs(data.less[i]) < 1e-9) data.less[i] = 0;
      data.rank[i] = 1 + scored.filter(other => data.score[other] > data.score[i] + 1e-9).length;
    }
  }
}

// Numbers of `n` things sorted by a key that is a whole number, equal ones in their order.
export function sortedBy(key, n) {
  const keys = new Float64Array(n);
  for (let i = 0; i < n; i++) keys[i] = key(i) * n + i;
  keys.sort();
  return Int32Array.from(keys, one => one % n);
}
