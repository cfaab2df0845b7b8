// Makes elements. Text is always text and never markup: nothing here writes HTML.

export const $ = id => document.getElementById(id);

const SVG = "http://www.w3.org/2000/svg";

// `attributes`: text, value, on… (listeners), and else an attribute's; false, null and undefined leave one out.
export function el(tag, attributes = {}, ...children) {
  return built(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return built(document.createElementNS(SVG, tag), attributes, children);
}

const isThere = one => one !== false && one !== null && one !== undefined;

function built(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (!isThere(value)) continue;
    if (name === "text") made.textContent = value;
    else if (name === "value") made.value = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter(isThere));
  return made;
}
