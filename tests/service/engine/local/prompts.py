"""Random prompts for tests of the local engine, and the ids of two labels."""

import random

from hypothesis import strategies as st

from service.engine.base import Prompt

LABELS = (11, 23)


def ids(n: int, seed: int) -> tuple[int, ...]:
    rng = random.Random(seed)
    return tuple(rng.randrange(300) for _ in range(n))


parts = st.sampled_from([(), (1,), (2,) * 5, (3,) * 20, (4,) * 33])
prompts_strategy = st.lists(
    st.builds(
        Prompt,
        shared=st.lists(parts, max_size=4).map(lambda several: sum(several, ())),
        own=st.integers(1, 12).map(lambda n: (9,) * n),
        salt=st.sampled_from(["", "a"]),
    ),
    max_size=20,
)
