// Joins the parts: it draws what the state says, and listens to what a person does.
import { $, el } from "shared/dom.js";
import { short } from "shared/writing.js";
import { matched } from "./compare.js";
import { detail, talkText, textOf } from "./detail.js";
import { student } from "./figures.js";
import { filtered, small, work } from "./filter.js";
import { drawFilters } from "./filters.js";
import { drawOverview } from "./overview.js";
import { change, data, RANGES, read, START, state, TABS, view, whenChanged } from "./state.js";
import { anyNumber, criteria, drawComparison, drawCriteria, drawTags, flips, many, pairs, pickCriterion, rateTables, responses, tags } from "./tables.js";

function draw(again, focus) {
  for (const tab of TABS) {
    $(`tab-${tab}`).setAttribute("aria-selected", String(tab === state.tab));
    $(`tab-${tab}`).tabIndex = tab === state.tab ? 0 : -1;
    $(tab).hidden = tab !== state.tab;
  }
  $(`tab-${state.tab}`).scrollIntoView({ block: "nearest", inline: "nearest" });
  drawFilters();
  ({ overview: drawOverview, responses: () => responses.show(view.chosen.rows), criteria: drawCriteria, tags: drawTags, compare: drawComparison })[state.tab](again);
  drawDetail(focus);
}

function drawDetail(focus) {
  const here = ["responses", "compare"].includes(state.tab) && state.row >= 0;
  document.body.classList.toggle("reading", here);
  $("detail").hidden = !here;
  if (!here) return;
  (state.tab === "compare" ? $("compare") : $("responses")).append($("detail"));
  if (state.tab === "responses") responses.choose(state.row);
  const key = `${state.tab}/${state.row}/${state.a}/${state.b}`;
  if ($("evidence").dataset.key !== key) {
    const pair = state.tab === "compare" ? view.comparison.pairs.find(one => one[1] === state.row) : undefined;
    const more = pair ? { other: pair[0], pairs: matched(data, ...pair) } : {};
    $("evidence").replaceChildren(...detail(data, state.row, { go: i => change({ row: i, tab: "responses" }, true), pick: pickCriterion, ...more }));
    $("evidence").dataset.key = key;
    $("evidence").scrollTop = 0;
  }
  if (focus) $("evidence").querySelector("h2").focus();
}

// What a person does.

let pending = 0;
function later(more) { cancelAnimationFrame(pending); pending = requestAnimationFrame(() => change(more)); }

function close() { const { box } = state.tab === "compare" ? pairs : responses; change({ row: -1 }); box.focus(); }

function download() {
  const quote = value => /[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
  const names = ["file", "id", "step", "status", "score", "reward", "advantage", "coverage", "score_low", "score_high", "judge", "prompt", "response"];
  const exact = value => value === value ? String(value) : "";
  const rows = Array.from(view.chosen.rows, i => [data.files[data.file[i]], textOf(data, data.id[i]), exact(data.step[i]), textOf(data, data.status[i]), ...["score", "reward", "advantage", "coverage", "low", "high"].map(name => exact(data[name][i])), textOf(data, data.judge[i]), talkText(data, data.prompt[i]), talkText(data, data.response[i])].map(quote).join(","));
  const link = el("a", { href: URL.createObjectURL(new Blob([[names.join(","), ...rows].join("\r\n"), "\r\n"], { type: "text/csv" })), download: "responses.csv" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function options(select, list) { for (const [value, text] of list) select.append(el("option", { value, text })); }

function begin() {
  const statuses = [...new Set(data.status)].map(one => [one, textOf(data, one)]).sort((a, b) => a[1].localeCompare(b[1]));
  options($("status"), statuses);
  options($("tag"), data.tags.map((text, tag) => [tag, short(text, 60)]));
  for (const id of ["file", "a", "b"]) if ($(id)) options($(id), data.files.map((name, file) => [file, name]));
  $("tagbox").hidden = data.tags.length === 0;
  const levels = [...new Set(data.said.level)].filter(text => text >= 0);
  options($("level"), levels.map(text => [text, short(data.texts[text], 60)]));
  $("levelbox").hidden = levels.length === 0;
  $("list").append(responses.outer); $("criteria").append(criteria.outer); $("tags").append(tags.outer);
  if (many) { $("pairs").append(pairs.outer); $("flips").append(flips.outer); }
  $("q").addEventListener("input", event => later({ q: event.target.value.trim() }));
  for (const id of ["status", "tag", "level", "file", "a", "b"]) $(id)?.addEventListener("change", event => change({ [id]: Number(event.target.value) }));
  for (const id of ["verdict", "by", "flipped"]) $(id)?.addEventListener("change", event => change({ [id]: event.target.value }));
  for (const [key, ...ids] of RANGES) for (const id of ids) $(id).addEventListener("input", () => {
    const [low, high] = ids.map(end => $(end).value);
    change({ [key]: low === "" && high === "" ? null : [low === "" ? -1e9 : Number(low), high === "" ? 1e9 : Number(high)] });
  });
  for (const label of document.querySelectorAll(".steps")) label.hidden = !anyNumber(data.step);
  $("tab-tags").hidden = data.tags.length === 0; $("tags").hidden = true;
  for (const tab of TABS) $(`tab-${tab}`).addEventListener("click", () => change({ tab }));
  $("tabs").addEventListener("keydown", event => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (by) { const tab = TABS[(TABS.indexOf(state.tab) + by + TABS.length) % TABS.length]; change({ tab }); $(`tab-${tab}`).focus(); }
  });
  $("close").addEventListener("click", close);
  $("previous").addEventListener("click", () => (state.tab === "compare" ? pairs : responses).step(-1));
  $("next").addEventListener("click", () => (state.tab === "compare" ? pairs : responses).step(1));
  $("download").addEventListener("click", download);
  document.addEventListener("keydown", keys);
  window.addEventListener("hashchange", () => { Object.assign(state, START, read()); view.chosen = filtered(data, state); draw(true); });
  $("filters").open = innerWidth > 640;
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
  if (event.key === "/" && !typing) { event.preventDefault(); $("filters").open = true; $("q").focus(); $("q").select(); }
  else if (event.key === "Escape" && typing) event.target.blur();
  else if (event.key === "Escape" && state.row >= 0) close();
  else if (event.target === $("q") && (event.key === "ArrowDown" || event.key === "Enter")) { event.preventDefault(); if (state.tab === "overview") change({ tab: "responses" }); ({ responses, criteria, tags, compare: pairs })[state.tab].box.focus(); }
}

whenChanged(draw);
begin();
window.rubricd = { work, data, state, change, chosen: () => view.chosen, compared: () => view.comparison, rates: () => rateTables.criteria, tagRates: () => rateTables.tags, student };
