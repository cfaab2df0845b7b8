// Joins the parts: the state is what the filters say, it is in the fragment of the address, and everything is drawn from it.

const data = decode(JSON.parse(document.getElementById("data").textContent));
const find = id => document.getElementById(id);
const TABS = ["overview", "responses", "criteria", ...(data.tags.length ? ["tags"] : []), ...(data.files.length > 1 ? ["compare"] : [])];
const START = { tab: data.n > 1 ? "overview" : "responses", q: "", file: -1, status: -1, tag: -1, criterion: -1, verdict: "", score: null, coverage: null, step: null, p: null, row: data.n > 1 ? -1 : 0, sort: "", a: 0, b: Math.min(1, data.files.length - 1), by: "responses", flipped: "" };
const FILTERS = ["q", "file", "status", "tag", "criterion", "verdict", "score", "coverage", "step", "p"];
const RANGES = [["score", "low", "high"], ["step", "first", "last"]];
const state = { ...START, ...read() };
let chosen = filtered(data, state), comparison = null, pending = 0;

function read() {
  const found = {};
  for (const [key, text] of new URLSearchParams(location.hash.slice(1))) {
    if (!(key in START)) continue;
    if (["score", "coverage", "step", "p"].includes(key)) { const ends = text.split("~").map(Number); if (ends.length === 2 && ends.every(Number.isFinite)) found[key] = ends; }
    else if (typeof START[key] === "number") { const value = Number(text); if (Number.isInteger(value) && value >= -1 && value < limit(key)) found[key] = value; }
    else found[key] = text;
  }
  if (found.tab && !TABS.includes(found.tab)) delete found.tab;
  if (found.verdict && !(found.verdict in VERDICTS)) delete found.verdict;
  return found;
}

function limit(key) {
  return { row: data.n, file: data.files.length, a: data.files.length, b: data.files.length, status: data.texts.length, tag: data.tags.length, criterion: data.criteria.length }[key];
}

function write() {
  const parts = new URLSearchParams();
  for (const [key, value] of Object.entries(state)) if (value !== START[key]) parts.set(key, Array.isArray(value) ? value.join("~") : value);
  const fragment = parts.toString();
  if (fragment !== location.hash.slice(1)) history.replaceState(null, "", fragment ? `#${fragment}` : location.pathname + location.search);
}

function change(more, focus = false) {
    const again = FILTERS.some(key => key in more && more[key] !== state[key]);
  Object.assign(state, more);
  write();
  if (again) chosen = filtered(data, state);
  draw(again, focus);
}

// The tables.

const scored = i => data.score[i] === data.score[i];
function scoreCell(i) {
  return scored(i) ? make("b", { text: number(data.score[i]) }) : make("span", { class: "why", text: textOf(data, data.status[i]) });
}
function verdictDots(i) {
  const box = make("span", { class: "dots" }), count = { good: 0, bad: 0, even: 0, none: 0, graded: 0 };
  for (let v = data.start[i]; v < data.start[i + 1]; v++) {
    const kind = goodness(data, v);
    count[kind]++;
    if (v - data.start[i] < 24) box.append(make("i", { class: kind }));
  }
  box.setAttribute("role", "img");
  box.setAttribute("aria-label", `${count.good} for, ${count.bad} against, ${count.none} without a verdict`);
  box.title = box.getAttribute("aria-label");
  return box;
}
const anyNumber = column => column.some(value => value === value);
const many = data.files.length > 1;

function textCell(i) {
  const answer = snippet(talkText(data, data.response[i]));
  return make("span", { class: "two" }, make("span", { dir: "auto", class: answer ? null : "soft", text: answer || "(empty)" }), make("small", { dir: "auto", text: snippet(talkText(data, data.prompt[i])) }));
}

const columns = [
  { name: "Score", width: "5.5rem", kind: "n", node: scoreCell, sort: i => data.score[i] },
  many && { name: "File", width: "7rem", kind: "soft", least: 900, text: i => data.files[data.file[i]], sort: i => data.file[i] },
  anyNumber(data.step) && { name: "Step", width: "4rem", kind: "n", least: 640, text: i => data.step[i] === data.step[i] ? String(data.step[i]) : "", sort: i => data.step[i] },
  { name: "Answer", width: "minmax(0, 1fr)", kind: "text", node: textCell },
  { name: "Verdicts", width: "minmax(5rem, 9rem)", least: 460, node: verdictDots, about: "Green: for the score. Red: against it. Grey: no verdict." },
  anyNumber(data.coverage) && { name: "Coverage", width: "5rem", kind: "n", least: 720, text: i => percent(data.coverage[i]), sort: i => data.coverage[i] },
  anyNumber(data.less) && { name: "To mean", width: "5.2rem", kind: "n", least: 560, text: i => signed(data.less[i]), sort: i => data.less[i], about: "Score less the mean of its group." },
  anyNumber(data.advantage) && { name: "Advantage", width: "5.5rem", kind: "n", least: 640, text: i => signed(data.advantage[i]), sort: i => data.advantage[i] },
].filter(Boolean);
const responses = grid("Responses", columns, (i, how) => change({ row: i }, how === "enter"), { id: "r", sort: state.sort, sorted: sort => change({ sort }) });

let rates = [], tagRates = [];
const rateColumns = (of, name, title) => [
  { name: "Met", width: "4.5rem", kind: "n", node: k => make("b", { text: percent(of()[k].value) || "none" }), sort: k => of()[k].value },
  { name: "95 %", width: "7rem", least: 640, node: k => make("span", { title: interval(of()[k]) }, ribbon(of()[k], title(k))) },
  ...name,
  { name: "Verdicts", width: "4.6rem", kind: "n", text: k => whole(of()[k].n), sort: k => of()[k].n },
  { name: "Missing", width: "4.6rem", kind: "n", least: 640, text: k => of()[k].missing ? whole(of()[k].missing) : "", sort: k => of()[k].missing },
  { name: "Informative", width: "6rem", kind: "n", least: 640, text: k => percent(of()[k].informative), sort: k => of()[k].informative, about: "Share of the groups in which some answers meet it and some do not." },
];
const criteriaColumns = rateColumns(() => rates, [
  { name: "Points", width: "4.2rem", kind: "n", node: c => make("span", { class: data.fault[c] ? "fault" : "", text: points(data.criteria[c].points) }), sort: c => data.criteria[c].points ?? NaN },
  { name: "Criterion", width: "minmax(0, 1fr)", kind: "text", node: c => make("span", { class: "two" }, make("span", { dir: "auto", text: snippet(data.texts[data.criteria[c].text]) }), make("small", { dir: "auto", text: data.criteria[c].tags.map(tag => data.tags[tag]).join(" \u00b7 ") })) },
], c => data.fault[c]);
const pickCriterion = criterion => change({ criterion, tag: -1, verdict: "", p: null, tab: "responses", row: -1 }, true);
const criteria = grid("Criteria", criteriaColumns, (c, how) => { if (how !== "move") pickCriterion(c); }, { id: "c", sort: "-Verdicts" });
const tags = grid("Tags", rateColumns(() => tagRates, [{ name: "Tag", width: "minmax(0, 1fr)", kind: "text", text: t => data.tags[t] }], () => false),
  (tag, how) => { if (how !== "move") change({ tag, criterion: -1, tab: "responses" }, true); }, { id: "t", sort: "-Verdicts" });

const pairOf = k => comparison.pairs[k];
const moved = (was, is) => was === was ? (was === is ? String(was) : `${was} \u2192 ${is}`) : "";
const pairs = grid("Responses in both files", [
  { name: "Change", width: "5.5rem", kind: "n", node: k => make("b", { class: comparison.change[k] > 0 ? "up" : comparison.change[k] < 0 ? "down" : "", text: signed(comparison.change[k]) || "none" }), sort: k => comparison.change[k] },
  { name: "Before", width: "4.8rem", kind: "n", least: 500, node: k => scoreCell(pairOf(k)[0]), sort: k => data.score[pairOf(k)[0]] },
  { name: "After", width: "4.8rem", kind: "n", node: k => scoreCell(pairOf(k)[1]), sort: k => data.score[pairOf(k)[1]] },
  { name: "Flips", width: "4rem", kind: "n", text: k => comparison.flips[k] ? String(comparison.flips[k]) : "", sort: k => comparison.flips[k] },
  { name: "Rank", width: "4.6rem", kind: "n", least: 560, text: k => moved(comparison.rankBefore[k], comparison.rankAfter[k]), sort: k => Math.abs(comparison.rankAfter[k] - comparison.rankBefore[k]) },
  { name: "To mean", width: "9rem", kind: "n", least: 760, text: k => comparison.lessBefore[k] === comparison.lessBefore[k] ? `${signed(comparison.lessBefore[k])} \u2192 ${signed(comparison.lessAfter[k])}` : "", sort: k => comparison.lessAfter[k] - comparison.lessBefore[k] },
  { name: "Answer", width: "minmax(0, 1fr)", kind: "text", node: k => textCell(pairOf(k)[1]) },
], (k, how) => change({ row: pairOf(k)[1] }, how === "enter"), { id: "p", sort: "-Flips" });
const flips = grid("Criteria that flipped", [
  { name: "Flips", width: "4rem", kind: "n", text: k => whole(comparison.criteria[k].toMet + comparison.criteria[k].toUnmet), sort: k => comparison.criteria[k].toMet + comparison.criteria[k].toUnmet },
  { name: "To met", width: "4.5rem", kind: "n", least: 640, text: k => whole(comparison.criteria[k].toMet), sort: k => comparison.criteria[k].toMet },
  { name: "To unmet", width: "5rem", kind: "n", least: 640, text: k => whole(comparison.criteria[k].toUnmet), sort: k => comparison.criteria[k].toUnmet },
  { name: "Of", width: "4rem", kind: "n", text: k => whole(comparison.criteria[k].n), sort: k => comparison.criteria[k].n },
  { name: "Criterion", width: "minmax(0, 1fr)", kind: "text", text: k => snippet(data.texts[data.criteria[comparison.criteria[k].criterion].text]) },
], (k, how) => { if (how !== "move") pickCriterion(comparison.criteria[k].criterion); }, { id: "f", sort: "-Flips" });

const byCriterion = sortedBy(v => data.said.criterion[v] * data.groups + data.group[data.rowOf[v]], data.v);
const tagged = [];
for (let v = 0; v < data.v; v++) for (const tag of data.criteria[data.said.criterion[v]].tags) tagged.push(tag, v);
const byTag = sortedBy(t => tagged[2 * t] * data.groups + data.group[data.rowOf[tagged[2 * t + 1]]], tagged.length / 2);

// What is drawn.

function draw(again, focus) {
  for (const tab of TABS) {
    find(`tab-${tab}`).setAttribute("aria-selected", String(tab === state.tab));
    find(`tab-${tab}`).tabIndex = tab === state.tab ? 0 : -1;
    find(tab).hidden = tab !== state.tab;
  }
  drawFilters();
  ({ overview: drawOverview, responses: () => responses.show(chosen.rows), criteria: drawCriteria, tags: drawTags, compare: drawComparison })[state.tab](again);
  drawDetail(focus);
}

const range = roundRange(least(data.score, 0), -least(data.score.map(one => -one), -1));

function drawOverview() {
  const { rows, kept } = chosen;
  const score = mean(data.score, data.group, rows), coverage = mean(data.coverage, data.group, rows);
  let met = 0, known = 0, missing = 0;
  const inside = [];
  for (let v = 0; v < data.v; v++) {
    if (!kept[data.rowOf[v]]) continue;
    if (data.said.met[v] < 0) missing++; else { known++; met += data.said.met[v]; }
    if ((state.criterion < 0 || data.said.criterion[v] === state.criterion) && (state.tag < 0 || data.criteria[data.said.criterion[v]].tags.includes(state.tag))) inside.push(v);
  }
  const even = equalGroups(rows);
  find("tiles").replaceChildren(...[
    tile(whole(rows.length), rows.length === data.n ? "responses" : `of ${whole(data.n)} responses`, `${whole(rows.length - score.n)} without a score`, rows.length > score.n ? "warn" : ""),
    tile(number(score.value) || "none", "mean score", interval(score)),
    tile(percent(known ? met / known : NaN) || "none", "of the verdicts met", `${whole(known)} verdicts, ${whole(missing)} missing`),
    coverage.n ? tile(percent(coverage.value), "of the points judged, mean") : null,
    even.groups ? tile(percent(even.equal / even.groups), "of the groups with equal scores", `${whole(even.equal)} of ${whole(even.groups)}`) : null,
  ].filter(Boolean));
  const bins = (values, places, low, high) => histogram(values, places, low, high, BINS);
  find("charts").replaceChildren(...[
    chart("Score", histogram(data.score, rows, ...range), ...range.slice(0, 2), state.score, score => change({ score })),
    anyNumber(data.coverage) ? chart("Coverage", bins(data.coverage, rows, 0, 1), 0, 1, state.coverage, coverage => change({ coverage })) : null,
    chart(state.criterion < 0 && state.tag < 0 ? "P(met) of all verdicts" : "P(met) of the chosen criteria", bins(data.said.p, inside, 0, 1), 0, 1, state.p, p => change({ p })),
  ].filter(Boolean));
  find("best").replaceChildren(...foremost(rows, 1).map(card));
  find("worst").replaceChildren(...foremost(rows, -1).map(card));
  drawReasons(rows);
}

function least(values, end) {
  for (const value of values) if (value < end) end = value;
  return end;
}

function equalGroups(rows) {
  const low = new Float64Array(data.groups).fill(Infinity), high = new Float64Array(data.groups).fill(-Infinity), n = new Int32Array(data.groups);
  for (const i of rows) if (scored(i)) { const g = data.group[i]; n[g]++; low[g] = Math.min(low[g], data.score[i]); high[g] = Math.max(high[g], data.score[i]); }
  let groups = 0, equal = 0;
  for (let g = 0; g < data.groups; g++) if (n[g] > 1) { groups++; equal += high[g] - low[g] < 1e-9; }
  return { groups, equal };
}

// The five responses with the highest score, or with the lowest one, in one pass.
function foremost(rows, sign) {
  const found = [];
  for (const i of rows) {
    if (!scored(i) || (found.length === 5 && sign * (data.score[i] - data.score[found[4]]) <= 0)) continue;
    let at = found.length;
    while (at > 0 && sign * (data.score[i] - data.score[found[at - 1]]) > 0) at--;
    found.splice(at, 0, i);
    if (found.length > 5) found.pop();
  }
  return found;
}

function card(i) {
  return make("li", {}, make("button", { type: "button", class: "answer", onclick: () => change({ tab: "responses", row: i }, true) }, scoreCell(i), textCell(i), verdictDots(i)));
}

function drawReasons(rows) {
  const found = new Map();
  for (const i of rows) if (!scored(i)) found.set(data.status[i], (found.get(data.status[i]) ?? 0) + 1);
  const list = [...found].sort((a, b) => b[1] - a[1]).map(([status, n]) => make("li", {}, make("button", { type: "button", class: "plain", text: `${textOf(data, status)}: ${whole(n)}`, onclick: () => change({ status, tab: "responses" }) })));
  find("reasons").replaceChildren(...list);
  find("unscored").hidden = list.length === 0;
}

function drawCriteria() {
  rates = sharesBy(data.criteria.length, byCriterion, v => data.said.criterion[v], v => v, data, chosen.kept);
  const found = state.q ? foundIn(data, state.q).texts : null;
  const here = [...rates.keys()].filter(c => rates[c] !== null && (state.tag < 0 || data.criteria[c].tags.includes(state.tag)) && (state.criterion < 0 || c === state.criterion));
  const named = found ? here.filter(c => found[data.criteria[c].text]) : here;
  criteria.show(Int32Array.from(named.length ? named : here));
}

function drawTags() {
  tagRates = sharesBy(data.tags.length, byTag, t => tagged[2 * t], t => tagged[2 * t + 1], data, chosen.kept);
  tags.show(Int32Array.from([...tagRates.keys()].filter(t => tagRates[t] !== null)));
}

function drawComparison(again) {
  if (!comparison || comparison.a !== state.a || comparison.b !== state.b) comparison = Object.assign(compared(data, state.a, state.b), { a: state.a, b: state.b });
  find("difference").replaceChildren(...comparisonTiles(data, comparison));
  const every = [...comparison.pairs.keys()].filter(k => chosen.kept[pairOf(k)[0]] || chosen.kept[pairOf(k)[1]]);
  const kinds = { verdicts: k => comparison.flips[k] > 0, order: k => comparison.rankBefore[k] !== comparison.rankAfter[k] && comparison.rankBefore[k] === comparison.rankBefore[k], sign: k => comparison.lessBefore[k] * comparison.lessAfter[k] < 0 };
  find("by").value = state.by; find("flipped").value = state.flipped; find("a").value = state.a; find("b").value = state.b;
  find("pairs").hidden = state.by !== "responses"; find("flips").hidden = state.by !== "criteria";
  find("flippedbox").hidden = state.by !== "responses";
  if (state.by === "criteria") flips.show(Int32Array.from(comparison.criteria.keys()));
  else pairs.show(Int32Array.from(kinds[state.flipped] ? every.filter(kinds[state.flipped]) : every));
}

function drawFilters() {
  if (document.activeElement !== find("q")) find("q").value = state.q;
  find("status").value = state.status; find("tag").value = state.tag; find("verdict").value = state.verdict;
  if (find("file")) find("file").value = state.file;
  for (const [key, ...ids] of RANGES) ids.forEach((id, at) => {
    if (document.activeElement !== find(id)) find(id).value = state[key] === null || Math.abs(state[key][at]) > 1e8 ? "" : +state[key][at].toFixed(4);
  });
  const chips = [];
  const chip = (text, more) => chips.push(make("button", { type: "button", class: "chip", "aria-label": `Remove the filter: ${text}`, onclick: () => change(more) }, make("span", { dir: "auto", text }), " \u00d7"));
  if (state.criterion >= 0) chip(`criterion: ${snippet(data.texts[data.criteria[state.criterion].text], 60)}`, { criterion: -1 });
  if (state.coverage) chip(`coverage ${number(state.coverage[0], 2)} to ${number(state.coverage[1], 2)}`, { coverage: null });
  if (state.p) chip(`P ${number(state.p[0], 2)} to ${number(state.p[1], 2)}`, { p: null });
  const any = FILTERS.some(key => state[key] !== START[key]);
  if (any) chips.push(make("button", { type: "button", class: "chip clear", text: "Clear all filters", onclick: () => change(Object.fromEntries(FILTERS.map(key => [key, START[key]]))) }));
  find("chips").replaceChildren(...chips);
  find("count").textContent = `${whole(chosen.rows.length)} of ${whole(data.n)}`;
}

function drawDetail(focus) {
  const here = ["responses", "compare"].includes(state.tab) && state.row >= 0;
  document.body.classList.toggle("reading", here);
  find("detail").hidden = !here;
  if (!here) return;
  (state.tab === "compare" ? find("compare") : find("responses")).append(find("detail"));
  if (state.tab === "responses") responses.choose(state.row);
  const key = `${state.tab}/${state.row}/${state.a}/${state.b}`;
  if (find("evidence").dataset.key !== key) {
    const pair = state.tab === "compare" ? comparison.pairs.find(one => one[1] === state.row) : undefined;
    const more = pair ? { other: pair[0], pairs: matched(data, ...pair) } : {};
    find("evidence").replaceChildren(...detail(data, state.row, { go: i => change({ row: i, tab: "responses" }, true), pick: pickCriterion, ...more }));
    find("evidence").dataset.key = key;
    find("evidence").scrollTop = 0;
  }
  if (focus) find("evidence").querySelector("h2").focus();
}

// What a person does.

function later(more) { cancelAnimationFrame(pending); pending = requestAnimationFrame(() => change(more)); }

function close() { const { box } = state.tab === "compare" ? pairs : responses; change({ row: -1 }); box.focus(); }

function download() {
  const quote = value => /[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
  const names = ["file", "id", "step", "status", "score", "reward", "advantage", "coverage", "score_low", "score_high", "judge", "prompt", "response"];
  const exact = value => value === value ? String(value) : "";
  const rows = Array.from(chosen.rows, i => [data.files[data.file[i]], textOf(data, data.id[i]), exact(data.step[i]), textOf(data, data.status[i]), ...["score", "reward", "advantage", "coverage", "low", "high"].map(name => exact(data[name][i])), textOf(data, data.judge[i]), talkText(data, data.prompt[i]), talkText(data, data.response[i])].map(quote).join(","));
  const link = make("a", { href: URL.createObjectURL(new Blob([[names.join(","), ...rows].join("\r\n"), "\r\n"], { type: "text/csv" })), download: "responses.csv" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function options(select, list) { for (const [value, text] of list) select.append(make("option", { value, text })); }

function begin() {
  const statuses = [...new Set(data.status)].map(one => [one, textOf(data, one)]).sort((a, b) => a[1].localeCompare(b[1]));
  options(find("status"), statuses);
  options(find("tag"), data.tags.map((text, tag) => [tag, snippet(text, 60)]));
  for (const id of ["file", "a", "b"]) if (find(id)) options(find(id), data.files.map((name, file) => [file, name]));
  find("tagbox").hidden = data.tags.length === 0;
  find("list").append(responses.outer); find("criteria").append(criteria.outer); find("tags").append(tags.outer);
  if (many) { find("pairs").append(pairs.outer); find("flips").append(flips.outer); }
  find("q").addEventListener("input", event => later({ q: event.target.value.trim() }));
  for (const id of ["status", "tag", "file", "a", "b"]) find(id)?.addEventListener("change", event => change({ [id]: Number(event.target.value) }));
  for (const id of ["verdict", "by", "flipped"]) find(id)?.addEventListener("change", event => change({ [id]: event.target.value }));
  for (const [key, ...ids] of RANGES) for (const id of ids) find(id).addEventListener("input", () => {
    const [low, high] = ids.map(end => find(end).value);
    change({ [key]: low === "" && high === "" ? null : [low === "" ? -1e9 : Number(low), high === "" ? 1e9 : Number(high)] });
  });
  for (const label of document.querySelectorAll(".steps")) label.hidden = !anyNumber(data.step);
  find("tab-tags").hidden = data.tags.length === 0; find("tags").hidden = true;
  for (const tab of TABS) find(`tab-${tab}`).addEventListener("click", () => change({ tab }));
  find("tabs").addEventListener("keydown", event => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (by) { const tab = TABS[(TABS.indexOf(state.tab) + by + TABS.length) % TABS.length]; change({ tab }); find(`tab-${tab}`).focus(); }
  });
  find("close").addEventListener("click", close);
  find("previous").addEventListener("click", () => (state.tab === "compare" ? pairs : responses).step(-1));
  find("next").addEventListener("click", () => (state.tab === "compare" ? pairs : responses).step(1));
  find("download").addEventListener("click", download);
  document.addEventListener("keydown", keys);
  window.addEventListener("hashchange", () => { Object.assign(state, START, read()); chosen = filtered(data, state); draw(true); });
  find("filters").open = innerWidth > 640;
  draw(true, false);
  requestIdleCallback?.(prepare);
}

// Texts are put in lower case while nothing else happens, so that the first search is as fast as the next one.
function prepare(deadline) {
  while (small.length < data.texts.length && deadline.timeRemaining() > 2) small.push(data.texts[small.length].toLowerCase());
  if (small.length < data.texts.length) requestIdleCallback(prepare);
}

function keys(event) {
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
  if (event.key === "/" && !typing) { event.preventDefault(); find("filters").open = true; find("q").focus(); find("q").select(); }
  else if (event.key === "Escape" && typing) event.target.blur();
  else if (event.key === "Escape" && state.row >= 0) close();
  else if (event.target === find("q") && (event.key === "ArrowDown" || event.key === "Enter")) { event.preventDefault(); if (state.tab === "overview") change({ tab: "responses" }); ({ responses, criteria, tags, compare: pairs })[state.tab].box.focus(); }
}

begin();
window.rubricd = { work, data, state, change, chosen: () => chosen, compared: () => comparison, rates: () => rates, tagRates: () => tagRates, student };
