"""The shipped tokenizer."""

from pathlib import Path

from miniature.judge.make import load

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ROOT / "miniature" / "checkpoints" / "judge"


def test_the_tokenizer_is_chatml_and_round_trips_any_text() -> None:
    _, tokenizer = load(SHIPPED)
    for label in (" Yes", " No"):
        assert len(tokenizer.encode(label, add_special_tokens=False)) == 1
    assert tokenizer.eos_token == "<|im_end|>"
    added = tokenizer.backend_tokenizer.get_added_tokens_decoder().values()
    assert {"<|im_start|>", "<|im_end|>"} <= {token.content for token in added if token.special}
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hello"}], tokenize=False, add_generation_prompt=True
    )
    assert chat == "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
    for text in ("Drink ginger tea.", " two  spaces\n\ttab", "naïve 漢字 🙂 \u0000", "Zwölf Boxkämpfer"):
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text
