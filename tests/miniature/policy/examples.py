"""Examples of the SFT curriculum that several tests read."""

from miniature.policy.sft_curriculum import Mix, example

EXAMPLES = [example(3, index, Mix()) for index in range(3000)]
