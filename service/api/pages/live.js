// The live view: draws what the service's metrics say, once a second.
import { $, el, svg } from "shared/dom.js";
import { fixed, number, plural, whole } from "shared/writing.js";
import { wait } from "./fields.js";
import { partsOf } from "./streaming.js";

const KEPT = 121;
const history = [];
let key = "";

// Reading.

const of = (reading, name, wanted = {}) => (reading.metrics[name] ?? []).filter(([labels]) => Object.entries(wanted).every(([label, value]) => labels[label] === value));
const sum = (reading, name, wanted) => of(reading, name, wanted).reduce((total, [, value]) => total + value, 0);
const one = (reading, name) => of(reading, name)[0]?.[1] ?? null;
const most = (reading, name) => (of(reading, name).length ? Math.max(...of(reading, name).map(([, value]) => value)) : null);

// What a counter rose by between two readings, a second; null where there is no earlier one.
function rate(at, name, wanted) {
  const [before, now] = [history[at - 1], history[at]];
  if (!before || now.at_s <= before.at_s) return null;
  return Math.max(0, sum(now, name, wanted) - sum(before, name, wanted)) / (now.at_s - before.at_s);
}

// The same over the last minute, or as long as there is.
function lately(name, wanted, seconds = 60) {
  const now = history.at(-1), before = history.find(reading => reading.at_s >= now.at_s - seconds);
  return Math.max(0, sum(now, name, wanted) - sum(before, name, wanted));
}

const line = (name, wanted) => history.map((_, at) => rate(at, name, wanted));
// A team that waits for nothing has no sample.
const waiting = () => history.map(reading => sum(reading, "rubricd_team_queued_tokens"));

// Drawing.

function sparkline(values, about) {
  const there = values.filter(value => value !== null), top = Math.max(...there, 1e-9);
  const pieces = [[]];
  values.forEach((value, at) => { if (value === null) { if (pieces.at(-1).length) pieces.push([]); } else pieces.at(-1).push([200 - ((values.length - 1 - at) * 200) / (KEPT - 1), 34 - (value / top) * 31]); });
  const text = points => points.map(point => point.map(part => part.toFixed(1)).join(",")).join(" ");
  return svg("svg", { viewBox: "0 0 200 36", preserveAspectRatio: "none", role: "img", "aria-label": `${about}: at most ${compact(there.length ? top : 0)} in the last two minutes` }, svg("line", { x1: 0, x2: 200, y1: 35, y2: 35, class: "base" }),
    ...pieces.filter(points => points.length > 1).flatMap(points => [svg("polygon", { points: `${points[0][0].toFixed(1)},35 ${text(points)} ${points.at(-1)[0].toFixed(1)},35` }), svg("polyline", { points: text(points), "vector-effect": "non-scaling-stroke" })]));
}

// At most four digits, so that a tile and a column stay narrow.
function compact(value) {
  if (value === null || value === undefined) return "–";
  const [size, unit] = [[1e9, " G"], [1e6, " M"], [1e4, " k"]].find(([from]) => value >= from) ?? [1, ""], shown = value / (size === 1e4 ? 1000 : size);
  return (shown >= 1000 ? whole(shown) : number(shown, shown >= 100 ? 0 : shown >= 10 ? 1 : 2)) + unit;
}

function tile(name, value, unit, values, { kind = "", more = "" } = {}) {
  return el("section", { class: `card tile ${kind}`, "aria-label": name }, el("span", { text: name }), el("b", {}, value, unit && el("small", { text: ` ${unit}` })), el("span", { text: more || "\u00a0" }), values && sparkline(values, name));
}

function share(part, all) {
  return all > 0 ? `${number((100 * part) / all, 1)} %` : "–";
}

function tiles(now) {
  const queued = sum(now, "rubricd_team_queued_tokens"), limit = one(now, "rubricd_queue_limit_tokens");
  const hits = lately("rubricd_cache_hits_total"), misses = lately("rubricd_cache_misses_total");
  const refused = lately("rubricd_refusals_total"), drift = most(now, "rubricd_canary_drift");
  const batches = lately("rubricd_batch_seconds_count"), restarts = sum(now, "rubricd_engine_restarts_total"), failed = sum(now, "rubricd_engine_failed_batches_total");
  const last = history.length - 1;
  return [
    tile("Waiting in the queue", compact(queued), "tokens", waiting(), { more: limit ? `of at most ${compact(limit)}` : "", kind: limit && queued > 0.8 * limit ? "care" : "" }),
    tile("Throughput", compact(rate(last, "rubricd_prompt_tokens_total", { source: "computed" })), "tokens/s", line("rubricd_prompt_tokens_total", { source: "computed" }), { more: `${compact(one(now, "rubricd_in_flight_tokens"))} tokens at the engine now` }),
    tile("Verdicts", compact(rate(last, "rubricd_judgements_total")), "a second", line("rubricd_judgements_total"), { more: `${compact(sum(now, "rubricd_judgements_total"))} since the start` }),
    tile("Responses", compact(rate(last, "rubricd_items_total")), "a second", line("rubricd_items_total"), { more: `${compact(sum(now, "rubricd_items_total"))} since the start` }),
    tile("From a cache", share(hits, hits + misses), "", line("rubricd_cache_hits_total"), { more: hits + misses ? `in the last minute, ${compact(one(now, "rubricd_cache_entries"))} kept` : "nothing asked in the last minute" }),
    tile("Refused", compact(refused), "in the last minute", line("rubricd_refusals_total"), { kind: refused ? "care" : "" }),
    tile("Drift of the canaries", drift === null ? "–" : number(drift, 4), "", history.map(reading => most(reading, "rubricd_canary_drift")), { more: drift === null ? "no canary was asked yet" : "largest change of P(met)", kind: drift > 0.05 ? "alarm" : "" }),
    tile("Engine", batches ? `${compact((1000 * lately("rubricd_batch_seconds_sum")) / batches)} ms` : "idle", batches ? "a batch" : "", line("rubricd_batch_seconds_count"), { more: `${plural(restarts, "restart")}, ${plural(failed, "failed batch", "failed batches")}`, kind: restarts || failed ? "alarm" : "" }),
  ];
}

const OF_NUMBERS = ["Tokens", "Number"];
const labelText = (label, text) => (label === "team" && text === "_service" ? "the service itself" : text || "–");

function table(name, heads, rows, empty) {
  return el("section", { class: "card", "aria-label": name }, el("h2", { text: name }), rows.length ? el("table", {}, el("thead", {}, el("tr", {}, ...heads.map(head => el("th", { scope: "col", class: OF_NUMBERS.includes(head) && "n", text: head })))), el("tbody", {}, ...rows)) : el("p", { class: "soft", text: empty }));
}

const meter = part => el("td", { class: "meter", "aria-hidden": "true" }, svg("svg", { viewBox: "0 0 100 8", preserveAspectRatio: "none" }, svg("rect", { width: 100, height: 8 }), svg("rect", { width: 100 * Math.min(1, part), height: 8, class: "fill" })));

function rowsOf(now, name, labels, total) {
  return of(now, name).filter(([, value]) => value > 0).sort((a, b) => b[1] - a[1]).slice(0, 12).map(([has, value]) => el("tr", {}, ...labels.map(label => el("td", { text: labelText(label, has[label]) })), el("td", { class: "n", text: compact(value) }), meter(value / total)));
}

function massCard(now) {
  const bounds = of(now, "rubricd_label_mass_bucket").map(([{ le }]) => le);
  const upTo = bounds.map(le => sum(now, "rubricd_label_mass_bucket", { le })), each = upTo.map((value, at) => value - (upTo[at - 1] ?? 0)), all = upTo.at(-1) ?? 0;
  const shown = bounds.map((le, at) => [le, each[at]]).filter(([le]) => le !== "+Inf");
  const tallest = Math.max(...shown.map(([, value]) => value), 1), about = shown.map(([le, value]) => `up to ${le}: ${value}`).join(", ");
  const columns = el("div", { class: "columns", role: "img", "aria-label": about }, ...shown.map(([, value]) => { const column = el("span"); column.style.height = `${(100 * value) / tallest}%`; return column; }));
  return el("section", { class: "card", "aria-label": "Label mass" }, el("h2", { text: "Label mass" }), el("p", { class: "hint", text: all ? `What the labels held of the judge's probability, mean ${fixed(sum(now, "rubricd_label_mass_sum") / all)}, since the start.` : "No verdict yet." }), all > 0 && columns, all > 0 && el("div", { class: "names", "aria-hidden": "true" }, ...shown.map(([le]) => el("span", { text: `≤ ${Number(le)}` }))));
}

function cards(now) {
  const queued = sum(now, "rubricd_team_queued_tokens"), judged = sum(now, "rubricd_judgements_total"), outcomes = {};
  for (const [{ outcome }, value] of of(now, "rubricd_judgements_total")) outcomes[outcome] = (outcomes[outcome] ?? 0) + value;
  return [
    table("The queue, by team and class", ["Team", "Class", "Tokens", ""], rowsOf(now, "rubricd_team_queued_tokens", ["team", "class"], queued), "Nothing waits."),
    table("Verdicts since the start", ["Outcome", "Number", ""], Object.entries(outcomes).filter(([, value]) => value > 0).sort((a, b) => b[1] - a[1]).map(([outcome, value]) => el("tr", {}, el("td", { text: outcome === "unmet" ? "not met" : outcome }), el("td", { class: "n", text: compact(value) }), meter(value / judged))), "Nothing was judged yet."),
    massCard(now),
    table("Refusals since the start", ["Team", "Reason", "Number", ""], rowsOf(now, "rubricd_refusals_total", ["team", "code"], sum(now, "rubricd_refusals_total")), "Nothing was refused."),
    table("Work by team", ["Team", "Tokens", ""], rowsOf(now, "rubricd_team_tokens_total", ["team"], sum(now, "rubricd_team_tokens_total")), "No team has asked yet."),
  ];
}

function draw() {
  const now = history.at(-1), judges = of(now, "rubricd_judge_info").map(([labels]) => labels);
  showState(now.state, now.state === "ready" ? "good" : now.state === "failed" ? "bad" : "wait");
  $("who").textContent = judges.map(judge => `judge ${judge.judge || judge.model} · engine ${judge.engine} · fingerprint ${judge.fingerprint}`).join(", ");
  say(now.why ? `It judges nothing now: ${now.why}.` : "");
  $("tiles").replaceChildren(...tiles(now));
  $("cards").replaceChildren(...cards(now));
  const redis = one(now, "rubricd_redis_up");
  $("about").textContent = `Of this one process (number ${now.process} on ${now.host}), since this page reached it. Where several serve one address, these are the numbers of one of them; Prometheus adds them up. ${plural(one(now, "rubricd_open_connections") ?? 0, "open connection")}.${redis === null ? "" : redis ? " Redis is up." : " Redis is down."}`;
}

function showState(text, kind) {
  $("state").textContent = text;
  $("state").className = `badge ${kind}`;
}

function say(text, kind = "") {
  $("said").hidden = !text;
  $("said").className = `notice ${kind}`;
  if ($("said").textContent !== text) $("said").textContent = text;
}

// Listening.

function take(event) {
  const data = event.split("\n").filter(part => part.startsWith("data: ")).map(part => part.slice(6)).join("\n");
  if (!data) return;
  const reading = JSON.parse(data);
  if (history.at(-1)?.instance !== reading.instance) history.length = 0; // another process: its counters are other ones
  history.push(reading);
  if (history.length > KEPT) history.shift();
  draw();
}

// Returns the seconds to wait before asking again; null where a person must act first.
async function listen() {
  const answer = await fetch("v1/live", { headers: key ? { Authorization: `Bearer ${key}` } : {}, cache: "no-store" });
  if (answer.status === 401) { $("key-form").hidden = false; say("This needs the key of the metrics. What stands below is no longer up to date."); showState("wants a key", "wait"); return null; }
  if (!answer.ok) { say((await answer.json().catch(() => null))?.detail ?? `The service responded with status ${answer.status}.`, "error"); return Number(answer.headers.get("Retry-After")) || 5; }
  $("key-form").hidden = true;
  for await (const event of partsOf(answer, "\n\n")) take(event);
  return 1;
}

async function follow() {
  for (let pause = 0; pause !== null;) {
    pause = await listen().catch(() => 2);
    if (pause === null) return;
    if ($("said").hidden) say("The service does not answer. This page asks again by itself; what stands below is no longer up to date.", "error");
    showState("away", "bad");
    await wait(1000 * pause);
  }
}

$("key-form").addEventListener("submit", event => { event.preventDefault(); key = $("key").value.trim(); say(""); follow(); });
follow();
