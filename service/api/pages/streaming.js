// Reads an answer that comes bit by bit.

// The whole parts of the answer, each of which ends with `end`. What is left at the end is no part.
export async function* partsOf(answer, end) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split(end);
    rest = parts.pop();
    yield* parts;
  }
}
