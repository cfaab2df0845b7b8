// Makes elements. Every text becomes a text node with a direction of its own, so that none can be markup or turn its
// neighbours round.
import { el, svg } from "shared/dom.js";
import { fixed, short, signed, whole } from "shared/writing.js";

const LONG = 20000;

// Somebody's text, of which the beginning is shown until the rest is asked for.
export function said(text, kind = "said") {
  const made = el("div", { class: kind, dir: "auto", text: text.length > LONG ? text.slice(0, LONG) : text });
  if (text.length <= LONG) return made;
  const more = el("button", { type: "button", class: "plain", text: `Show all ${whole(text.length)} characters`, onclick: () => { made.textContent = text; } });
  return el("div", {}, made, more);
}

export function interval(one, digits = 3) {
  if (one.unspread) return "no spread seen";
  return one.low === one.low ? `${fixed(one.low, digits)} to ${fixed(one.high, digits)}` : "";
}

// Points as they are, with their sign.
export const points = value => (value === null ? "" : signed(value, 6));

export function tile(value, name, more = "", kind = "") {
  return el("div", { class: `tile ${kind}`.trim() }, el("b", { text: value }), el("span", { text: name }), more ? el("small", { text: more }) : null);
}

// A share with its interval, as small as a word.
export function ribbon(one, fault) {
  const picture = svg("svg", { viewBox: "0 0 100 12", class: `ribbon${fault ? " fault" : ""}`, "aria-hidden": "true", preserveAspectRatio: "none" });
  picture.append(svg("rect", { x: 0, y: 4, width: 100, height: 4, class: "ground" }));
  if (one.value === one.value) {
    picture.append(svg("rect", { x: 0, y: 4, width: one.value * 100, height: 4, class: "bar" }));
    picture.append(svg("rect", { x: one.low * 100, y: 1, width: Math.max((one.high - one.low) * 100, 0.6), height: 10, class: "range" }));
  }
  return picture;
}

// Shares of one whole beside each other, the later ones darker: [name, how many] each.
export function levelRibbon(counts) {
  const all = counts.reduce((sum, [, n]) => sum + n, 0), about = counts.map(([name, n]) => `${short(name, 60)}: ${whole(n)}`).join("\n");
  let from = 0;
  const parts = counts.map(([, n], at) => {
    const part = svg("rect", { x: from, y: 1, width: (100 * n) / all, height: 10, class: "bar", opacity: 0.25 + (0.75 * (at + 1)) / counts.length });
    from += (100 * n) / all;
    return part;
  });
  return svg("svg", { viewBox: "0 0 100 12", class: "ribbon", role: "img", "aria-label": about, preserveAspectRatio: "none" }, svg("title", { text: about }), ...parts);
}
