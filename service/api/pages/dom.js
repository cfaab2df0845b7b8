// Makes elements. Text is always text and never markup: nothing here writes HTML.

export const $ = id => document.getElementById(id);

const SVG = "http://www.w3.org/2000/svg";

// `attributes`: text, class, on… (listeners), dataset values as data-…; false and null leave one out.
export function el(tag, attributes = {}, ...children) {
  return built(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return built(document.createElementNS(SVG, tag), attributes, children);
}

function built(one, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name === "text") one.textContent = value;
    else if (name === "value") one.value = value;
    else if (name.startsWith("on")) one.addEventListener(name.slice(2), value);
    else one.setAttribute(name, value === true ? "" : value);
  }
  one.append(...children.flat().filter(child => child !== null && child !== undefined && child !== false));
  return one;
}

export const wait = ms => new Promise(done => setTimeout(done, ms));

export function later(ms, work) {
  let timer;
  return (...given) => { clearTimeout(timer); timer = setTimeout(() => work(...given), ms); };
}

// A number as people read it: a true minus, no sign at zero, no zeros at the end.
export function number(value, digits = 3) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const text = value.toFixed(digits).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
  return (Number(text) ? text : "0").replace("-", "−");
}

export const fixed = (value, digits = 3) => (Number(value.toFixed(digits)) ? value : 0).toFixed(digits).replace("-", "−");

export const signed = (value, digits = 3) => (value > 0 && number(value, digits) !== "0" ? "+" : "") + number(value, digits);

export function grow(area) {
  area.style.height = "auto";
  area.style.height = `${Math.min(area.scrollHeight + 2, 420)}px`;
}

// A text in its own direction that grows with what is written.
export function area(attributes) {
  const one = el("textarea", { rows: 2, dir: "auto", spellcheck: "true", ...attributes });
  one.addEventListener("input", () => grow(one));
  requestAnimationFrame(() => grow(one));
  return one;
}

export const short = (text, most = 90) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

export const plural = (n, one, many = `${one}s`) => `${n} ${n === 1 ? one : many}`;
