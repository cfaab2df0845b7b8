// A table of any length, of which the rows that can be seen exist. Its height stands for all of them.
import { el } from "shared/dom.js";
import { work } from "./filter.js";

const AROUND = 6;
const MOST_PRINTED = 500;

// Columns: {name, width, text | node, sort, kind, about, least}. `sort` gives a number for each row, of which NaN comes
// last; a column is left out of a table that is narrower than `least` pixels. `open` is told a row, and whether it was
// moved to, clicked or entered.
export function grid(name, columns, open, more = {}) {
  const box = el("div", { class: `grid ${more.kind ?? ""}`.trim(), role: "grid", tabindex: "0", "aria-label": name });
  const head = el("div", { class: "head", role: "row" });
  const body = el("div", { class: "body", role: "rowgroup" });
  const none = el("p", { class: "nothing", text: "Nothing fits these filters.", hidden: true });
  box.append(el("div", { role: "rowgroup", class: "heads" }, head), body);
  const outer = el("div", { class: "gridbox" }, box, none);
  let all = new Int32Array(0), order = all, sort = more.sort ?? "", active = -1, shownFrom = -1, shownTo = -1, printed = false;
  const id = index => `${more.id}-${index}`;
  let fitting = [];

  function fit() {
    const fits = columns.filter(one => !(one.least > box.clientWidth));
    if (fits.length === fitting.length) return;
    fitting = fits;
    box.style.setProperty("--columns", fits.map(one => one.width).join(" "));
    head.replaceChildren(...fits.map(header));
  }

  function header(column) {
    const order = column.name !== sort.replace(/^-/, "") ? "none" : sort[0] === "-" ? "descending" : "ascending";
    const cell = el("div", { role: "columnheader", class: column.kind, title: column.about, "aria-sort": column.sort ? order : null });
    if (column.sort) cell.append(el("button", { type: "button", tabindex: "-1", text: column.name, onclick: () => sortBy(sort === `-${column.name}` ? column.name : `-${column.name}`) }));
    else cell.textContent = column.name;
    return cell;
  }

  function arrange() {
    const column = columns.find(one => one.name === sort.replace(/^-/, ""));
    head.replaceChildren(...fitting.map(header));
    if (!column) { order = all; return; }
    const sign = sort[0] === "-" ? -1 : 1;
    const keys = new Float64Array(all.length);
    for (let o = 0; o < all.length; o++) keys[o] = column.sort(all[o]);
    const by = Array.from(all.keys());
    by.sort((a, b) => (Number.isNaN(keys[a]) - Number.isNaN(keys[b])) || sign * (keys[a] - keys[b]) || a - b);
    order = Int32Array.from(by, at => all[at]);
  }

  function height() { return parseFloat(getComputedStyle(box).getPropertyValue("--row")) || 44; }

  function draw(again = false) {
    const each = height(), from = printed ? 0 : Math.max(0, Math.floor(box.scrollTop / each) - AROUND);
    const to = Math.min(order.length, printed ? MOST_PRINTED : Math.ceil((box.scrollTop + box.clientHeight) / each) + AROUND);
    if (!again && from === shownFrom && to === shownTo) return;
    [shownFrom, shownTo] = [from, to];
    body.replaceChildren(...Array.from({ length: Math.max(to - from, 0) }, (_, n) => row(from + n, each)));
    body.style.height = `${order.length * each}px`;
    box.setAttribute("aria-rowcount", order.length + 1);
    if (active >= from && active < to) box.setAttribute("aria-activedescendant", id(active)); else box.removeAttribute("aria-activedescendant");
    none.hidden = order.length > 0;
  }

  function row(index, each) {
    work.built++;
    const thing = order[index];
    const made = el("div", { role: "row", id: id(index), class: index === active ? "row active" : "row", "aria-rowindex": index + 2, "aria-selected": String(index === active) });
    made.style.transform = `translateY(${index * each}px)`;
    for (const column of fitting) {
      const cell = el("div", { role: "gridcell", class: column.kind });
      if (column.node) cell.append(column.node(thing)); else { cell.textContent = column.text(thing); cell.dir = "auto"; }
      made.append(cell);
    }
    made.addEventListener("click", () => { move(index, true); open(thing, "click"); });
    return made;
  }

  function move(index, quiet = false) {
    if (!order.length) return;
    active = Math.min(Math.max(index, 0), order.length - 1);
    const each = height(), top = active * each, headed = head.offsetHeight;
    if (top < box.scrollTop) box.scrollTop = top;
    else if (top + each + headed > box.scrollTop + box.clientHeight) box.scrollTop = top + each + headed - box.clientHeight;
    draw(true);
    if (!quiet) open(order[active], "move");
  }

  function sortBy(name) {
    const thing = active >= 0 ? order[active] : -1;
    sort = name;
    arrange();
    active = order.indexOf(thing);
    box.scrollTop = 0;
    draw(true);
    more.sorted?.(sort);
  }

  box.addEventListener("scroll", () => draw(), { passive: true });
  box.addEventListener("keydown", event => {
    const page = Math.max(1, Math.floor(box.clientHeight / height()) - 1);
    const to = { ArrowDown: active + 1, ArrowUp: active - 1, PageDown: active + page, PageUp: active - page, Home: 0, End: order.length - 1 }[event.key];
    if (to !== undefined) { event.preventDefault(); move(to); }
    else if (event.key === "Enter" && active >= 0 && event.target === box) { event.preventDefault(); open(order[active], "enter"); }
  });
  const print = is => { printed = is; draw(true); };
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));
  new ResizeObserver(() => { fit(); draw(true); }).observe(box);

  return {
    outer, box, sortBy,
    show(things) {
      const thing = active >= 0 ? order[active] : -1;
      all = things;
      fit();
      arrange();
      active = order.indexOf(thing);
      if (active < 0) box.scrollTop = 0;
      draw(true);
    },
    choose(thing, quiet = true) { const at = order.indexOf(thing); if (at >= 0) move(at, quiet); else { active = -1; draw(true); } },
    step(by) { move(active + by); },
    get order() { return order; },
  };
}
