// Shows the values of a figure under the pointer, or by the arrow keys, and smooths its lines as the page's slider says.
import { el, svg } from "shared/dom.js";
import { whole } from "shared/writing.js";

const WIDE = 540;
const shown = value => (Math.abs(value) >= 1000 ? whole(value) : value.toPrecision(4).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "").replace("-", "\u2212"));

function smoothed(points, reach) {
  return points.map(([x, y], place) => {
    if (y === null) return [x, null];
    const near = points.slice(Math.max(place - reach, 0), place + reach + 1).filter(one => one[1] !== null);
    return [x, near.reduce((sum, one) => sum + one[1], 0) / near.length];
  });
}

function path(points, at) {
  let joined = false;
  return points.map(([x, y]) => { const part = y === null ? "" : `${joined ? "L" : "M"}${at(x, y)}`; joined = y !== null; return part; }).join("");
}

function prepare(figure) {
  const told = JSON.parse(figure.querySelector("script").textContent), picture = figure.querySelector("svg");
  const [left, right, top, bottom] = told.box, [x0, x1] = told.x, [y0, y1] = told.y;
  const px = x => left + (x - x0) / (x1 - x0) * (right - left), py = y => bottom - (y - y0) / (y1 - y0) * (bottom - top);
  const at = (x, y) => `${px(x).toFixed(1)},${py(y).toFixed(1)}`;
  const xs = [...new Set(told.lines.flatMap(line => line.points.filter(one => one[1] !== null).map(one => one[0])))].sort((a, b) => a - b);
  const cross = picture.appendChild(svg("line", { class: "cross", y1: top, y2: bottom, visibility: "hidden" }));
  const tip = figure.appendChild(el("div", { class: "tip", role: "status", hidden: true }));
  let here = -1;

  function show(place) {
    here = Math.min(Math.max(place, 0), xs.length - 1);
    const x = xs[here];
    cross.setAttribute("x1", px(x)); cross.setAttribute("x2", px(x)); cross.setAttribute("visibility", "visible");
    const parts = told.lines.map(line => [line, line.points.find(one => one[0] === x && one[1] !== null)]).filter(one => one[1]);
    tip.replaceChildren(el("b", { text: `${told.across} ${shown(x)}` }), ...parts.map(([line, point]) => {
      const dot = el("i");
      dot.style.background = `var(--${line.colour})`;
      return el("span", {}, dot, `${line.name} ${shown(point[1])}`);
    }));
    tip.hidden = false;
    const scale = picture.clientWidth / WIDE;
    tip.style.left = `${Math.min(px(x) * scale + 10, figure.clientWidth - tip.offsetWidth - 2)}px`;
  }
  function hide() { tip.hidden = true; cross.setAttribute("visibility", "hidden"); here = -1; }

  picture.addEventListener("pointermove", event => {
    if (!xs.length) return;
    const box = picture.getBoundingClientRect(), x = x0 + ((event.clientX - box.left) / box.width * WIDE - left) / (right - left) * (x1 - x0);
    show(xs.reduce((best, one, place) => Math.abs(one - x) < Math.abs(xs[best] - x) ? place : best, 0));
  });
  picture.addEventListener("pointerleave", hide);
  figure.tabIndex = 0;
  figure.addEventListener("blur", hide);
  figure.addEventListener("keydown", event => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (by && xs.length) { event.preventDefault(); show(here < 0 ? (by > 0 ? 0 : xs.length - 1) : here + by); }
    if (event.key === "Escape") hide();
  });
  return share => told.lines.forEach((line, place) => {
    const drawn = picture.querySelector(`[data-line="${place}"]`), reach = Math.round(line.points.length * share / 100);
    drawn.setAttribute("d", path(smoothed(line.points, reach), at));
  });
}

const drawings = [...document.querySelectorAll("figure.plot")].map(prepare);
const control = document.querySelector(".smoothing");
if (control && drawings.length) {
  const slider = control.querySelector("input"), output = control.querySelector("output");
  control.hidden = false;
  slider.addEventListener("input", () => {
    const share = Number(slider.value);
    output.textContent = share ? `${share} % of the points to each side` : "off";
    for (const draw of drawings) draw(share);
  });
}
