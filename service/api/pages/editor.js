// The conversation and the responses, as fields to write in.
import { $, el } from "shared/dom.js";
import { area } from "./fields.js";
import { state } from "./state.js";

const ROLES = ["user", "assistant", "system", "developer", "tool"];
export const letter = index => (index < 26 ? String.fromCharCode(65 + index) : `${index + 1}`);

// `changed` is called after every change. What is written stays in place; only adding and removing draws again.
export function drawConversation(changed) {
  const again = focus => { drawConversation(changed); changed(); $("turns").querySelectorAll("textarea")[focus]?.focus(); };
  $("turns").replaceChildren(...state.turns.map((turn, index) => {
    const name = `Turn ${index + 1}`;
    return el("div", { class: "turn" },
      el("div", { class: "row between" },
        el("select", { "aria-label": `${name}: who speaks`, class: "quiet", value: null, onchange: event => { turn.role = event.target.value; changed(); } },
          ...ROLES.map(role => el("option", { text: role, selected: role === turn.role }))),
        state.turns.length > 1 && el("button", { type: "button", class: "icon", "aria-label": `Remove turn ${index + 1}`, text: "✕",
          onclick: () => { state.turns.splice(index, 1); again(Math.max(0, index - 1)); } })),
      area({ "aria-label": `${name}: what is said`, value: turn.content, oninput: event => { turn.content = event.target.value; changed(); } }));
  }));
  $("add-turn").onclick = () => {
    state.turns.push({ role: state.turns.at(-1)?.role === "user" ? "assistant" : "user", content: "" });
    again(state.turns.length - 1);
  };
}

export function drawResponses(changed) {
  const again = focus => { drawResponses(changed); changed(); $("responses").querySelectorAll("textarea")[focus]?.focus(); };
  const several = state.responses.length > 1;
  $("responses").replaceChildren(...state.responses.map((text, index) => {
    const name = several ? `Response ${letter(index)}` : "Response to judge";
    return el("div", { class: "turn" },
      el("div", { class: "row between" }, el("label", { for: `response-${index}`, text: name }),
        several && el("button", { type: "button", class: "icon", "aria-label": `Remove response ${letter(index)}`, text: "✕",
          onclick: () => { state.responses.splice(index, 1); again(Math.max(0, index - 1)); } })),
      area({ id: `response-${index}`, rows: 3, value: text, oninput: event => { state.responses[index] = event.target.value; changed(); } }));
  }));
  $("add-response").onclick = () => { state.responses.push(""); again(state.responses.length - 1); };
  $("reference").value = state.reference;
  $("reference").oninput = event => { state.reference = event.target.value; changed(); };
}
