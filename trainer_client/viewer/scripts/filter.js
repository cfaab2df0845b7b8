// Chooses responses. Texts are searched once for each search, and everything else is read from typed arrays.

export const work = { texts: 0, rows: 0, verdicts: 0, built: 0 };
export const small = [];  // texts in lower case, made when they are first searched
const asked = { query: "", talks: null, texts: null };

export function foundIn(data, query) {
  if (asked.query === query && asked.talks) return asked;
  const wanted = query.toLowerCase();
  const texts = new Uint8Array(data.texts.length);
  for (let i = 0; i < texts.length; i++) {
    if (small[i] === undefined) small[i] = data.texts[i].toLowerCase();
    texts[i] = small[i].includes(wanted) ? 1 : 0;
  }
  const talks = new Uint8Array(data.talks.length);
  data.talks.forEach((talk, i) => { for (let part = 1; part < talk.length; part += 2) if (texts[talk[part]]) { talks[i] = 1; return; } });
  work.texts += texts.length;
  return Object.assign(asked, { query, talks, texts });
}

function inRange(value, range) { return range === null || (value >= range[0] && value <= range[1]); }

export function filtered(data, state) {
  const kept = new Uint8Array(data.n), rows = [];
  const found = state.q ? foundIn(data, state.q) : null;
  const byVerdict = state.criterion >= 0 || state.tag >= 0 || state.level >= 0 || state.verdict || state.p !== null;
  for (let i = 0; i < data.n; i++) {
    if (state.file >= 0 && data.file[i] !== state.file) continue;
    if (state.status >= 0 && data.status[i] !== state.status) continue;
    if (!inRange(data.score[i], state.score) || !inRange(data.coverage[i], state.coverage) || !inRange(data.step[i], state.step)) continue;
    if (found && !matches(data, found, i)) continue;
    if (byVerdict && !hasVerdict(data, state, i)) continue;
    kept[i] = 1;
    rows.push(i);
  }
  work.rows += data.n;
  return { kept, rows: Int32Array.from(rows) };
}

function matches(data, found, i) {
  if (found.talks[data.prompt[i]] || found.talks[data.response[i]] || found.texts[data.id[i]]) return true;
  const { explanation, extracted } = data.said;
  for (let v = data.start[i]; v < data.start[i + 1]; v++) if ((explanation[v] >= 0 && found.texts[explanation[v]]) || (extracted[v] >= 0 && found.texts[extracted[v]])) return true;
  return false;
}

function hasVerdict(data, state, i) {
  for (let v = data.start[i]; v < data.start[i + 1]; v++) if (wantedVerdict(data, state, v)) return true;
  return false;
}

export const VERDICTS = { met: 1, unmet: 0, none: -1 };

function wantedVerdict(data, state, v) {
  work.verdicts++;
  const { criterion, met, p, level, share } = data.said;
  if (state.criterion >= 0 && criterion[v] !== state.criterion) return false;
  if (state.tag >= 0 && !data.criteria[criterion[v]].tags.includes(state.tag)) return false;
  if (state.level >= 0 && level[v] !== state.level) return false;
  if (state.verdict && (met[v] !== VERDICTS[state.verdict] || (met[v] < 0 && share[v] === share[v]))) return false;
  return inRange(p[v], state.p);
}
