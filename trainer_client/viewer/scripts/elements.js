// Makes elements. Every text becomes a text node with a direction of its own, so that none can be markup or turn its
// neighbours round.

const LONG = 20000;

function make(name, more = {}, ...inside) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(more)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key === "class") made.className = value;
    else if (key === "text") made.textContent = value;
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...inside.filter(one => one !== null && one !== undefined));
  return made;
}

function drawn(name, more = {}, ...inside) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(more)) if (key === "text") made.textContent = value; else made.setAttribute(key, value);
  made.append(...inside);
  return made;
}

// Somebody's text, of which the beginning is shown until the rest is asked for.
function said(text, kind = "said") {
  const made = make("div", { class: kind, dir: "auto", text: text.length > LONG ? text.slice(0, LONG) : text });
  if (text.length <= LONG) return made;
  const more = make("button", { type: "button", class: "plain", text: `Show all ${whole(text.length)} characters`, onclick: () => { made.textContent = text; } });
  return make("div", {}, made, more);
}

function snippet(text, length = 240) {
  const short = text.slice(0, length).replace(/\s+/g, " ").trim();
  return text.length > length ? `${short}\u2026` : short;
}

const MINUS = "\u2212";
function number(value, digits = 3) {
  if (value !== value) return "";
  const text = value.toFixed(digits);
  return (Number(text) === 0 ? text.replace("-", "") : text).replace("-", MINUS);
}
function signed(value, digits = 3) { return value > 0 && Number(value.toFixed(digits)) > 0 ? `+${number(value, digits)}` : number(value, digits); }
function whole(value) { return value.toLocaleString("en-US"); }
function interval(one, digits = 3) { return one.low === one.low ? `${number(one.low, digits)} to ${number(one.high, digits)}` : ""; }
function points(value) { return value === null ? "" : `${value > 0 ? "+" : ""}${value}`.replace("-", MINUS); }
function percent(value) { return value !== value ? "" : `${(value * 100).toFixed(value > 0 && value < 0.1 ? 1 : 0)} %`; }

function tile(value, name, more = "", kind = "") {
  return make("div", { class: `tile ${kind}`.trim() }, make("b", { text: value }), make("span", { text: name }), more ? make("small", { text: more }) : null);
}

// A share with its interval, as small as a word.
function ribbon(one, fault) {
  const svg = drawn("svg", { viewBox: "0 0 100 12", class: `ribbon${fault ? " fault" : ""}`, "aria-hidden": "true", preserveAspectRatio: "none" });
  svg.append(drawn("rect", { x: 0, y: 4, width: 100, height: 4, class: "ground" }));
  if (one.value === one.value) {
    svg.append(drawn("rect", { x: 0, y: 4, width: one.value * 100, height: 4, class: "bar" }));
    svg.append(drawn("rect", { x: one.low * 100, y: 1, width: Math.max((one.high - one.low) * 100, 0.6), height: 10, class: "range" }));
  }
  return svg;
}
