// The playground: joins what is written, the service and what is shown.
import { $, el } from "shared/dom.js";
import { fixed, whole } from "shared/writing.js";
import { later, wait } from "./fields.js";
import { drawConversation, drawResponses, letter } from "./editor.js";
import { EMPTY, EXAMPLES } from "./examples.js";
import { groupOf, pairOf } from "./group.js";
import { known } from "./kept.js";
import { fragmentOf, inFragment, isLink } from "./links.js";
import { bodyOf, drawOptions, wayOf } from "./options.js";
import { headline, ratingOf, spentOf, warningsOf, whyOf } from "./result.js";
import { drawRubric, filled, lintLater, listenForPastes, wrongAt } from "./rubric.js";
import { askJson, followJudge, score, withAddedLayouts } from "./service.js";
import { snippets } from "./snippets.js";
import { keepBefore, keptBefore, load, plainState, remember, remembered, save, saved, state } from "./state.js";

const LONG_LINK = 8000, MOST_OF_LINK = 1_000_000; // Firefox opens no longer one
let info = null, running = null, shown = null, asking = null;
const others = new Map();

// What is known of a deployment's judge; it is asked for the first time that it is chosen.
function infoOf(name) {
  if (!name || name === info?.name) return info;
  if (!others.has(name)) {
    others.set(name, null);
    askJson(`v1/judge?judge=${encodeURIComponent(name)}`).then(found => { others.set(name, withAddedLayouts(found)); drawWays(); }).catch(() => others.delete(name));
  }
  return others.get(name) ?? info;
}

// What nobody has changed is not saved: another tab may have written since.
let unsaved = false;
const changed = () => { unsaved = true; saveLater(); lintLater(); drawCode(); };
const saveLater = later(250, saveNow);

function saveNow() {
  if (!unsaved) return;
  unsaved = !save();
  if (unsaved) tell("This browser does not keep what stands here: it has no room for it, or forbids it. Copy the JSON before you leave the page.");
}

function tell(text) {
  $("told").hidden = !text;
  $("told").textContent = text;
}

function drawAll() {
  drawConversation(changed);
  drawResponses(changed);
  drawRubric(changed);
  drawWays();
  lintLater();
  drawCode();
}

// Whether nothing stands here but an example, or nothing at all.
function untouched() {
  const written = ({ options, second, ...rest }) => JSON.stringify(known(rest));
  return [...EXAMPLES, EMPTY].some(one => written(one) === written(plainState()));
}

// Puts something else in the place of what a person wrote, which can be brought back.
function replaceBy(found) {
  if (!untouched()) keepBefore(plainState());
  load(found);
  tell("");
  drawAll();
  changed();
  $("restore").hidden = !keptBefore();
}

async function takeLink() {
  if (!isLink(location.hash)) return null;
  const found = known(await inFragment(location.hash));
  history.replaceState(null, "", location.pathname);
  if (!found) tell("This link was cut or is damaged, so nothing was taken from it. Ask for it again, or for the JSON.");
  return found;
}

function drawWays() {
  drawOptions($("options"), state.options, infoOf, "first", changed);
  $("second").hidden = !state.second;
  $("compare").setAttribute("aria-pressed", String(Boolean(state.second)));
  if (state.second) drawOptions($("second-options"), state.second, infoOf, "second", changed);
}

// The judge.

function showJudge(found) {
  info = found;
  const trust = found.judges?.find(one => one.fingerprint === found.fingerprint)?.trust;
  $("toy").hidden = !found.toy;
  $("unproven").hidden = found.toy || trust !== "unproven";
  $("judge").textContent = `judge ${found.model} · engine ${found.engine} · fingerprint ${found.fingerprint}`;
  $("away").hidden = true;
  drawWays();
}

function noJudge(error) {
  const kinds = { away: "error", loading: "info", key: "info", full: "info", refused: "error" };
  $("judge").textContent = "no judge yet";
  $("away").className = `notice ${kinds[error.kind] ?? "error"}`;
  const more = { away: "This page asks again by itself.", loading: "This page goes on by itself as soon as it can judge.", key: "Give your team's key below." }[error.kind] ?? "";
  $("away").replaceChildren(el("p", { text: error.message }), more && el("p", { class: "soft", text: more }));
  $("away").hidden = false;
}

// One loop asks for the judge, however often it was wanted; a new key is tried at once.
const follow = () => { asking?.abort(); asking = new AbortController(); return followJudge(showJudge, noJudge, asking.signal); };

// Scoring.

async function run() {
  if (running) return;
  const problem = whatIsMissing();
  if (problem) { refuse({ message: problem, places: [] }); return lookAtAnswer(); }
  running = new AbortController();
  busy(true);
  const started = performance.now(), ways = state.second ? [state.options, state.second] : [state.options];
  const of = state.responses.length * ways.length;
  let there = 0;
  const tick = setInterval(() => progress(there, of, performance.now() - started), 200);
  progress(0, of, 0);
  try {
    const asked = ways.map(options => ({ options: structuredClone(options), body: bodyOf(options), rubric: structuredClone(filled()), responses: [...state.responses] }));
    const answers = await Promise.all(asked.map(one => score(one.body, { signal: running.signal, arrived: () => progress(++there, of, performance.now() - started) })));
    shown = { asked, answers, chosen: 0, ms: performance.now() - started };
    show();
    const knows = info?.judges?.map(one => one.fingerprint);
    if (knows && !state.options.judge && !knows.includes(answers[0].judge.fingerprint)) follow(); // another judge came in its place
  } catch (error) {
    if (error.name === "AbortError") $("answer").replaceChildren(el("p", { class: "soft", role: "status", text: "Stopped. The service was told, and judges this no further." }));
    else { running.abort(); refuse(error); }
  } finally {
    clearInterval(tick);
    running = null;
    busy(false);
    lookAtAnswer();
  }
}

// On a phone the answer, and a refusal too, stands far below the button.
function lookAtAnswer() {
  if (matchMedia("(max-width: 900px)").matches && document.activeElement !== $("key")) $("answer").scrollIntoView();
}

function whatIsMissing() {
  if (!state.turns.some(turn => turn.content.trim())) return "The conversation is empty: write what the user said.";
  if (!filled().length && ![state.options, state.second].filter(Boolean).every(one => one.mode === "likert")) return "The rubric is empty: write a criterion, or paste a rubric.";
  const pointless = filled().find(row => row.points === null);
  return pointless ? `Criterion ${state.rubric.indexOf(pointless) + 1} has no points: write a number beside it.` : null;
}

let began = null;

function busy(is) {
  if (is) began = document.activeElement; // a button that is disabled loses the focus
  $("go").disabled = is;
  if (!is && document.activeElement === document.body) began?.focus({ preventScroll: true });
  $("stop").hidden = $("progress").hidden = !is;
  $("answer").toggleAttribute("aria-busy", is);
}

function progress(there, of, ms) {
  const [bar, said] = $("progress").children;
  if (of > 1) bar.value = there / of; else bar.removeAttribute("value");
  said.textContent = `${of > 1 ? `${there} of ${of} responses, ` : ""}${(ms / 1000).toFixed(1)} s`;
}

async function refuse(error) {
  if (error.kind === "key" || error.kind === "away" || error.kind === "loading") noJudge(error);
  const again = el("button", { type: "button", text: "Try again", onclick: run });
  const notice = el("div", { class: "notice error refusal", role: "alert" }, el("p", { text: error.message }),
    error.places?.length > 0 && el("ul", {}, ...error.places.map(place => el("li", { text: wrongAt(place) }))), error.kind && el("p", { class: "row" }, again));
  $("spoken").textContent = "";
  $("answer").replaceChildren(notice);
  if (error.kind === "key") $("key").focus();
  if (error.kind === "away" || error.kind === "loading") follow();
  for (let left = Math.ceil(error.waits ?? 0); left > 0 && again.isConnected; left--) {
    again.disabled = true;
    again.textContent = `Try again in ${left} s`;
    await wait(1000);
  }
  again.disabled = false;
  again.textContent = "Try again";
}

function show() {
  const { asked, answers, chosen, ms } = shown, [answer] = answers, [way] = asked;
  const result = answer.results[chosen], several = answer.results.length > 1;
  const rated = ["implicit", "likert"].includes(answer.judge.mode);
  $("spoken").textContent = [several && `Response ${letter(chosen)}.`, result.score === null ? "No score." : `Reward ${fixed(result.score)}.`, `${Math.round(100 * result.coverage)} % of the points judged.`].filter(Boolean).join(" ");
  const choose = index => { shown.chosen = index; show(); $("why-title").focus(); };
  $("answer").replaceChildren(...[
    several && groupOf(answer.results, rated ? [] : way.rubric, chosen, choose),
    el("h2", { id: "why-title", tabindex: -1, text: several ? `Why response ${letter(chosen)} has this reward` : "The reward, and why" }),
    headline(result),
    warningsOf(result),
    answers.length > 1 && pairOf(result, answers[1].results[chosen], asked.map((one, index) => wayOf({ judge: answers[index].judge.name, ...one.options })), rated ? [] : way.rubric),
    rated ? ratingOf(result) : whyOf(result, { ...way, response: way.responses[chosen] }, infoOf(way.options.judge)),
    spentOf(answer, ms),
  ].filter(Boolean));
  drawCode();
}

// Taking it elsewhere.

let language = "curl";

function drawCode() {
  if (!$("code").open) return;
  const texts = snippets(bodyOf(state.options), new URL(".", location.href).href, !$("key-card").hidden);
  $("languages").replaceChildren(...Object.keys(texts).map(name => el("button", { type: "button", "aria-pressed": String(name === language), text: name, onclick: () => { language = name; drawCode(); $("languages").querySelector("[aria-pressed=true]").focus(); } })));
  $("snippet").textContent = texts[language];
}

async function copy(text, button) {
  const before = button.dataset.name ??= button.textContent;
  let copied = true;
  try { await navigator.clipboard.writeText(text); } catch {
    const box = el("textarea", { value: text, "aria-hidden": "true" });
    document.body.append(box);
    box.select();
    copied = document.execCommand("copy");
    box.remove();
    button.focus();
  }
  button.textContent = copied ? "Copied" : "Not copied: this browser forbids it";
  await wait(1500);
  button.textContent = before;
}

async function copyLink(event) {
  const link = new URL(await fragmentOf(plainState()), location.href).href, long = `A link to this has ${whole(link.length)} characters`;
  if (link.length > MOST_OF_LINK) return tell(`${long}, more than browsers open. Nothing was copied. Send the JSON instead.`);
  tell(link.length > LONG_LINK ? `${long}. Programs for chat and mail often cut such a link, and a cut one is refused.` : "");
  return copy(link, event.target);
}

// The start.

function start() {
  $("examples").replaceChildren(el("option", { value: "", text: "Load an example…" }), ...[...EXAMPLES, EMPTY].map((one, index) => el("option", { value: index, text: one.name })));
  $("examples").onchange = event => {
    if (event.target.value === "") return;
    const { judge } = state.options;
    const chosen = known([...EXAMPLES, EMPTY][Number(event.target.value)]);
    replaceBy({ ...chosen, options: { ...chosen.options, ...(judge && { judge }) } });
    event.target.value = "";
  };
  load(saved() ?? known(EXAMPLES[0]));
  $("restore").hidden = !keptBefore();
  $("restore").onclick = () => replaceBy(keptBefore());
  const key = remembered();
  if (key) { $("key").value = key; $("keep-key").checked = true; $("key-card").hidden = false; }
  const keyChanged = () => { remember($("keep-key").checked ? $("key").value.trim() : ""); follow(); };
  $("key").addEventListener("change", keyChanged);
  $("keep-key").addEventListener("change", keyChanged);
  $("form").addEventListener("submit", event => { event.preventDefault(); run(); });
  $("stop").onclick = () => running?.abort();
  $("compare").onclick = () => { state.second = state.second ? null : { ...structuredClone(state.options) }; drawWays(); changed(); if (state.second) $("second").querySelector("select").focus(); };
  $("share").onclick = copyLink;
  $("copy").onclick = event => copy($("snippet").textContent, event.target);
  $("code").addEventListener("toggle", drawCode);
  addEventListener("keydown", event => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); run(); }
    if (event.key === "Escape") running?.abort();
  });
  const linked = async () => { const found = await takeLink(); if (found) replaceBy(found); };
  addEventListener("hashchange", linked);
  addEventListener("pagehide", saveNow);
  listenForPastes(replaceBy);
  drawAll();
  follow();
  linked();
}

start();
