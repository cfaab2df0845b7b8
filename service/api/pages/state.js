// What a person has written, kept in this browser and in links. The key is no part of it.

const PLACE = "rubricd.playground";
export const state = { turns: [], responses: [], reference: "", rubric: [], options: {}, second: null };

let count = 0;
export const criterion = (fields = {}) => ({ key: ++count, text: "", points: 1, tags: {}, ...fields });

const plainState = () => ({ ...state, rubric: state.rubric.map(({ key, open, ...fields }) => fields) });

export function load(found) {
  state.turns = atLeastOne(found.turns, one => ({ role: String(one.role ?? "user"), content: String(one.content ?? "") }), { role: "user", content: "" });
  state.responses = atLeastOne(found.responses, String, "");
  state.reference = String(found.reference ?? "");
  state.rubric = atLeastOne(found.rubric, one => criterion({ ...one, tags: { ...one.tags } }), criterion());
  state.options = { ...found.options };
  state.second = found.second ? { ...found.second } : null;
}

const atLeastOne = (found, read, empty) => (Array.isArray(found) && found.length ? found.map(read) : [empty]);

export function save() {
  try { localStorage.setItem(PLACE, JSON.stringify(plainState())); } catch { /* a browser that keeps nothing */ }
}

export function saved() {
  try { return JSON.parse(localStorage.getItem(PLACE)); } catch { return null; }
}

export const remembered = () => { try { return localStorage.getItem("rubricd.key"); } catch { return null; } };

export function remember(value) {
  try { value ? localStorage.setItem("rubricd.key", value) : localStorage.removeItem("rubricd.key"); } catch { /* as above */ }
}

const through = async (bytes, stream) => new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());

export async function fragment() {
  const bytes = await through(new TextEncoder().encode(JSON.stringify(plainState())), new CompressionStream("deflate-raw"));
  const text = btoa(Array.from(bytes, byte => String.fromCharCode(byte)).join(""));
  return `#s=${text.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "")}`;
}

export async function ofFragment(hash) {
  if (!hash.startsWith("#s=")) return null;
  try {
    const text = atob(hash.slice(3).replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = await through(Uint8Array.from(text, one => one.charCodeAt(0)), new DecompressionStream("deflate-raw"));
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch { return null; }
}
