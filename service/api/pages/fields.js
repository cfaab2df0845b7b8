// Fields to write in, and what follows what is written.
import { el } from "shared/dom.js";

const MOST_PX = 420;

export const wait = ms => new Promise(done => setTimeout(done, ms));

// Calls `work` once nothing has called it for so long.
export function later(ms, work) {
  let timer;
  return (...given) => { clearTimeout(timer); timer = setTimeout(() => work(...given), ms); };
}

export const markWrong = (field, wrong) => (wrong ? field.setAttribute("aria-invalid", "true") : field.removeAttribute("aria-invalid"));

// A text in its own direction that grows with what is written: by the style where the browser can, else by hand.
export function area(attributes) {
  const one = el("textarea", { rows: 2, dir: "auto", spellcheck: "true", ...attributes });
  if (CSS.supports("field-sizing", "content")) return one;
  const grow = () => {
    one.style.height = "auto";
    one.style.height = `${Math.min(one.scrollHeight + 2, MOST_PX)}px`;
  };
  one.addEventListener("input", grow);
  requestAnimationFrame(grow);
  return one;
}
