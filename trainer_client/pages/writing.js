// Writes numbers and texts as people read them: a true minus, no sign at zero, and nothing for what is missing.

const isKnown = value => value !== null && value !== undefined && Number.isFinite(value);

// With so many digits behind the point.
export function fixed(value, digits = 3) {
  if (!isKnown(value)) return "";
  const text = value.toFixed(digits);
  return (Number(text) ? text : text.replace("-", "")).replace("-", "\u2212");
}

// The same without zeros at its end.
export const number = (value, digits = 3) => (isKnown(value) ? fixed(value, digits).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "") : "\u2013");

const plus = (value, digits) => (value > 0 && Number(value.toFixed(digits)) ? "+" : "");
export const signed = (value, digits = 3) => plus(value, digits) + number(value, digits);
export const signedFixed = (value, digits = 3) => plus(value, digits) + fixed(value, digits);

export const whole = value => value.toLocaleString("en-US", { maximumFractionDigits: 0 }).replace("-", "\u2212");

export const percent = value => (isKnown(value) ? `${fixed(value * 100, value > 0 && value < 0.1 ? 1 : 0)} %` : "");

export const plural = (n, one, many = `${one}s`) => `${whole(n)} ${n === 1 ? one : many}`;

// The beginning of a text on one line.
export function short(text, most = 90) {
  const start = text.slice(0, most).replace(/\s+/g, " ").trim();
  return text.length > most ? `${start}\u2026` : start;
}
