// What is written as the fragment of an address, which a browser sends to no server, and back.

const MOST_BYTES = 32 * 1024 * 1024; // of what a link unfolds to: a short one could else fill the memory
const KEY = "#s=";

async function through(bytes, stream) {
  const reader = new Blob([bytes]).stream().pipeThrough(stream).getReader(), parts = [];
  for (let size = 0; ;) {
    const { value, done } = await reader.read();
    if (done) return new Uint8Array(await new Blob(parts).arrayBuffer());
    size += value.length;
    if (size > MOST_BYTES) { await reader.cancel(); throw new RangeError("too much"); }
    parts.push(value);
  }
}

export async function fragmentOf(found) {
  const bytes = await through(new TextEncoder().encode(JSON.stringify(found)), new CompressionStream("deflate-raw"));
  const text = btoa(Array.from(bytes, byte => String.fromCharCode(byte)).join(""));
  return KEY + text.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

export const isLink = hash => hash.startsWith(KEY);

// What such a fragment brings; null where it was cut or is none of ours.
export async function inFragment(hash) {
  try {
    const text = atob(hash.slice(KEY.length).replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = await through(Uint8Array.from(text, one => one.charCodeAt(0)), new DecompressionStream("deflate-raw"));
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch { return null; }
}
