"""Tests of which languages are recognised."""

from typing import get_args

import pytest

from service.judges.language import LANGUAGES, language_of
from service.settings.deployment import Language

TEXTS = {
    "en": [
        "What should I do if my child has a fever?",
        "Write a poem about the sea for you and me.",
        "How is this different to that?",
    ],
    "de": [
        "Was soll ich tun, wenn mein Kind Fieber hat?",
        "Wie ist das Wetter auf der Insel und was ist mit dem Meer?",
    ],
    "fr": ["Que dois-je faire pour mon enfant qui a de la fièvre ?", "Comment est la mer dans le sud ?"],
    "es": ["¿Qué puedo hacer con la fiebre de mi hijo?", "Escribe un poema con el mar y una playa."],
    "it": ["Cosa posso fare per la febbre di mio figlio?", "Scrivi una poesia che parla del mare e della luna."],
    "pt": ["O que posso fazer com a febre do meu filho?", "Você não me disse como é o mar."],
    "nl": ["Wat kan ik doen als mijn kind koorts heeft en niet slaapt?", "Hoe is het weer op het eiland?"],
    "ja": ["子供が熱を出したらどうすればいいですか。"],
    "zh": ["孩子发烧了怎么办？", "请写一首关于大海的诗。"],
    "ko": ["아이가 열이 나면 어떻게 해야 하나요?"],
    "ru": ["Что делать, если у ребёнка температура?"],
    "el": ["Τι να κάνω αν το παιδί μου έχει πυρετό;"],
    "he": ["מה לעשות אם לילד שלי יש חום?"],
    "ar": ["ماذا أفعل إذا كان طفلي يعاني من الحمى؟"],
    "hi": ["अगर मेरे बच्चे को बुखार हो तो क्या करूँ?"],
    "th": ["ถ้าลูกของฉันมีไข้ควรทำอย่างไร"],
}


def test_each_language_has_an_example_and_may_be_named_in_the_file() -> None:
    assert set(TEXTS) == set(LANGUAGES) == set(get_args(Language))


@pytest.mark.parametrize("language", TEXTS)
def test_it_is_told(language: str) -> None:
    assert [language_of(text) for text in TEXTS[language]] == [language] * len(TEXTS[language])


@pytest.mark.parametrize("text", ["", "Write a poem.", "12 + 30 = 42", "Zyzzyva", "print(x)", "?!"])
def test_what_says_no_language_has_none(text: str) -> None:
    assert language_of(text) is None
