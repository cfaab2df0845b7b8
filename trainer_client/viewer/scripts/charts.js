// Draws histograms of which each bar can be chosen, by mouse or by key, to keep what lies in it.
import { el, svg } from "shared/dom.js";
import { fixed, whole } from "shared/writing.js";

export const BINS = 20;

export function chart(heading, counts, low, high, chosen, choose) {
  const total = counts.reduce((sum, one) => sum + one, 0), most = Math.max(...counts, 1), width = 320 / counts.length;
  const at = bin => low + (high - low) * bin / counts.length;
  const name = bin => `${fixed(at(bin), 2)} to ${fixed(at(bin + 1), 2)}: ${whole(counts[bin])}`;
  const picture = svg("svg", { viewBox: "0 0 320 118", role: "group", "aria-label": alternative(heading, counts, total, name) });
  counts.forEach((count, bin) => {
    const height = count ? Math.max(count / most * 86, 1.5) : 0;
    const inside = chosen !== null && at(bin) >= chosen[0] - 1e-9 && at(bin + 1) <= chosen[1] + 1e-9;
    const pick = () => choose(inside ? null : [at(bin), bin === counts.length - 1 ? high : at(bin + 1)]);
    const bar = svg("g", { class: `bin${inside ? " chosen" : ""}`, role: "button", tabindex: "0", "aria-label": `Keep ${name(bin)}`, "aria-pressed": String(inside) },
      svg("title", { text: name(bin) }),
      svg("rect", { x: bin * width, y: 0, width, height: 96, class: "hit" }),
      svg("rect", { x: bin * width + 1, y: 96 - height, width: width - 2, height, class: "bar", rx: 1 }));
    bar.addEventListener("click", pick);
    bar.addEventListener("keydown", event => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); event.stopPropagation(); pick(); } });
    picture.append(bar);
  });
  picture.append(svg("line", { x1: 0, x2: 320, y1: 96.5, y2: 96.5, class: "axis" }));
  for (const [x, value, anchor] of [[0, low, "start"], [160, (low + high) / 2, "middle"], [320, high, "end"]])
    picture.append(svg("text", { x, y: 112, "text-anchor": anchor, text: fixed(value, Math.abs(value * 10 - Math.round(value * 10)) < 1e-9 ? 1 : 2) }));
  const clear = chosen === null ? null : el("button", { type: "button", class: "plain", text: `Clear ${fixed(chosen[0], 2)} to ${fixed(chosen[1], 2)}`, onclick: () => choose(null) });
  return el("section", { class: "card" }, el("h2", { text: heading }), el("p", { text: `${whole(total)} values, at most ${whole(most)} in a bar` }), picture, clear);
}

function alternative(heading, counts, total, name) {
  const most = counts.indexOf(Math.max(...counts));
  return total ? `Histogram of ${heading}: ${whole(total)} values; the fullest bar is ${name(most)}` : `Histogram of ${heading}: no values`;
}
