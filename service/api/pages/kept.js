// Reads what a browser kept or a link brought, which may hold anything. What has not the shape that it should have is
// left out, so that the page can draw what is returned. Pure.

const isRecord = one => one !== null && typeof one === "object" && !Array.isArray(one);
const isPlain = one => typeof one === "string" || typeof one === "boolean" || Number.isFinite(one);
const words = one => (typeof one === "string" ? one : "");
const listOf = (found, read) => (Array.isArray(found) ? found.filter(isRecord).map(read) : []);
const textsOf = found => (Array.isArray(found) ? found.filter(one => typeof one === "string") : []);
const entriesOf = (found, keep) => Object.fromEntries(Object.entries(isRecord(found) ? found : {}).filter(([, value]) => keep(value)));
const ruleOf = found => (isRecord(found) && typeof found.rule === "string" ? { ...found } : null);

// The parts of a criterion that may be there, each with its reader; null leaves one out.
const PARTS = {
  id: one => words(one) || null,
  polarity: one => (one === "positive" || one === "negative" ? one : null),
  verifier: one => { const rule = ruleOf(one?.rule); return rule && { rule }; },
  levels: one => (Array.isArray(one) ? stepsOf(one) : null),
  choices: one => (Array.isArray(one) ? stepsOf(one) : null),
  extract: one => (isRecord(one) ? { type: words(one.type) || "string", instructions: words(one.instructions), rule: ruleOf(one.rule) ?? { rule: "exact" }, ...(one.type === "choice" && { choices: textsOf(one.choices) }) } : null),
};

const stepsOf = found => listOf(found, one => ({ text: words(one.text), ...(Number.isFinite(one.value) && { value: one.value }) }));

function criterionOf(found) {
  const parts = Object.entries(PARTS).map(([name, read]) => [name, Object.hasOwn(found, name) ? read(found[name]) : null]);
  return { text: words(found.text), points: !Object.hasOwn(found, "points") ? 1 : Number.isFinite(found.points) ? found.points : null, tags: entriesOf(found.tags, one => typeof one === "string"), ...Object.fromEntries(parts.filter(([, value]) => value !== null)) };
}

// An option is a plain value, or a record of such (an aggregation's own options may hold weights).
const optionsOf = found => entriesOf(found, one => isPlain(one) || (isRecord(one) && Object.values(one).every(inner => isPlain(inner) || (isRecord(inner) && Object.values(inner).every(isPlain)))));

// The state that the page draws; null where nothing was kept.
export function known(found) {
  if (!isRecord(found)) return null;
  const turns = listOf(found.turns, one => ({ role: words(one.role) || "user", content: words(one.content) }));
  const responses = textsOf(found.responses), rubric = listOf(found.rubric, criterionOf);
  return {
    turns: turns.length ? turns : [{ role: "user", content: "" }], responses: responses.length ? responses : [""], reference: words(found.reference),
    rubric: rubric.length ? rubric : [criterionOf({})], options: optionsOf(found.options), second: isRecord(found.second) ? optionsOf(found.second) : null,
  };
}
