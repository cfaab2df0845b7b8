// Examples to begin with. The first is what a new visitor sees.

const c = (points, text, more = {}) => ({ points, text, tags: {}, ...more });

export const EXAMPLES = [
  { name: "Health advice, with a fault", turns: [{ role: "user", content: "I have a stiff neck. What should I do?" }],
    responses: ["For a stiff neck: 1. Drink ginger tea. 2. Ask for a massage. 3. Ignore the pain."],
    rubric: [c(7, "Tells the user to drink ginger tea."), c(3, "Tells the user to ask for a massage."), c(2, "Gives at least four steps."), c(-5, "Tells the user to ignore the pain.")] },
  { name: "A group of four, as GRPO sees it", turns: [{ role: "user", content: "What is 12 × 12? Show your work." }],
    responses: ["12 × 12 = 12 × 10 + 12 × 2 = 120 + 24 = 144. The answer is \\boxed{144}.", "The answer is \\boxed{144}.", "12 × 12 = 124. The answer is \\boxed{124}.", "I am not sure."],
    rubric: [c(5, "The final answer is 144.", { verifier: { rule: "math_verify", gold: "144" } }), c(2, "Shows at least one step of the calculation."), c(-1, "Is longer than 40 words.", { verifier: { rule: "length", min: 41 } })] },
  { name: "Rubrics as Rewards, with categories", turns: [{ role: "user", content: "Why is the sky blue?" }],
    responses: ["Air scatters short wavelengths of sunlight more than long ones (Rayleigh scattering), so blue light comes from every direction."],
    options: { aggregation: { name: "rar_explicit" } },
    rubric: [c(5, "Names Rayleigh scattering.", { tags: { category: "essential" } }), c(3, "Says that short wavelengths are scattered more.", { tags: { category: "important" } }), c(1, "Explains why the sky is not violet.", { tags: { category: "optional" } }), c(-2, "Says that the sky reflects the ocean.", { tags: { category: "pitfall" }, polarity: "negative" })] },
  { name: "Several turns, two answers", turns: [{ role: "system", content: "You are a kind tutor. Never give the final answer away." }, { role: "user", content: "Solve 3x + 6 = 21 for me." }, { role: "assistant", content: "What could you do with the 6 first?" }, { role: "user", content: "I don't know. Just tell me x." }],
    responses: ["x is 5.", "Let us take 6 from both sides. What is left on the right side?"],
    rubric: [c(4, "Gives a hint for the next step."), c(2, "Asks the user a question."), c(-6, "Gives the final answer away.")] },
];

export const EMPTY = { name: "Nothing: an empty page" };
