// Says where a refused request is wrong, in the words of the page. Pure.

const NUMBERED = { rubric: at => `criterion ${at + 1}`, prompt: at => `turn ${at + 1}`, responses: at => `response ${at < 26 ? String.fromCharCode(65 + at) : at + 1}` };
const NOT_SHOWN = ["criteria", "(key)"]; // how the contract holds a part, which nobody sees on the page

// `loc` is a place of the contract; `rows` has the row on the page of each criterion that was sent, where some were not.
export function placeInWords(loc, rows = []) {
  const [first, ...parts] = (loc[0] === "items" ? loc.slice(2) : loc).filter(part => !NOT_SHOWN.includes(part));
  if (first === undefined) return "The request";
  const at = parts[0], numbered = NUMBERED[first] && Number.isInteger(at);
  const begin = numbered ? NUMBERED[first](first === "rubric" ? (rows[at] ?? at) : at) : named(first);
  const said = [begin, ...(numbered ? parts.slice(1) : parts).map(part => (Number.isInteger(part) ? `number ${part + 1}` : named(part)))].join(", ");
  return said[0].toUpperCase() + said.slice(1);
}

const named = part => String(part).replaceAll("_", " ");

// The criterion that a place is in, by its number in the request.
export const criterionAt = loc => { const at = loc.indexOf("rubric") + 1; return at === 0 ? undefined : loc.slice(at).find(Number.isInteger); };
