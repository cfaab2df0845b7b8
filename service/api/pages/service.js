// Asks the service, and says in plain words why it does not answer.
import { $ } from "shared/dom.js";
import { wait } from "./fields.js";
import { partsOf } from "./streaming.js";

class Refusal extends Error {
  // `places` are those of the request that are wrong, as the contract names them: { loc, msg }.
  constructor(kind, title, { places = [], waits = null } = {}) {
    super(title);
    Object.assign(this, { kind, places, waits });
  }
}

const key = () => $("key").value.trim();

async function ask(path, { body, signal, lines = false } = {}) {
  const headers = { ...(body && { "Content-Type": "application/json" }), ...(lines && { Accept: "application/x-ndjson" }),
    ...(key() && { Authorization: `Bearer ${key()}` }) };
  let answer;
  try {
    answer = await fetch(path, { method: body ? "POST" : "GET", headers, signal, body: body && JSON.stringify(body), cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("away", "The service does not answer. Is it running, and can this browser reach it?");
  }
  if (answer.ok) return answer;
  throw await refusal(answer);
}

export const askJson = async (path, options) => (await ask(path, options)).json();

async function refusal(answer) {
  const body = await answer.json().catch(() => null);
  const places = body?.errors ?? [];
  const title = !body?.title ? `The service responded with status ${answer.status} and gave no reason.` : places.length ? `${body.title}:` : `${body.title}: ${body.detail}`;
  const waits = Number(answer.headers.get("Retry-After")) || null;
  const loading = answer.status === 503 && /loading|restart|shutting|not working|does not answer/.test(body?.detail ?? "");
  const kind = answer.status === 401 ? "key" : loading ? "loading" : answer.status === 429 || answer.status === 503 ? "full" : "refused";
  if (answer.status === 401 || answer.status === 403) $("key-card").hidden = false;
  return new Refusal(kind, title, { places, waits });
}

// Scores a request line by line; `arrived` is called with how many of its results are there.
export async function score(body, { signal, arrived = () => {} }) {
  const answer = await ask("v1/score", { body, signal, lines: true });
  const results = [];
  let end = null, there = 0;
  try {
    for await (const part of partsOf(answer, "\n")) {
      const line = JSON.parse(part);
      if (line.done) end = line;
      else { results[line.index] = line; arrived(++there); }
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
  }
  if (!end) throw new Refusal("away", "The answer broke off before its end, so there is no score. Try again.");
  return { ...end, results };
}

// A judge with the layouts that were added later in its lists.
export function withAddedLayouts(info) {
  for (const [name, more] of Object.entries(info.more ?? {})) info[name] = [...(info[name] ?? []), ...more];
  return info;
}

// Calls `show` with the judge, and `failed` with a refusal as long as there is none, until the signal ends it.
export async function followJudge(show, failed, signal) {
  while (!signal.aborted) {
    try {
      return show(withAddedLayouts(await askJson("v1/judge", { signal })));
    } catch (error) {
      if (signal.aborted) return null;
      failed(error);
      if (!["away", "loading", "full"].includes(error.kind)) return null;
      await wait(1000 * Math.min(error.waits ?? 2, 30));
    }
  }
  return null;
}
