"""Splits the text of a criterion into words, and holds the lists of words by which the rules of wording decide. Pure.

Guarantees: the lists are English. Equal words have one stem whatever their ending, and so have the verbs of saying.
"""

import re

READ_CHARACTERS = 2_000
"""The wording is looked at up to here, so that a long text costs no more than one that is merely too long."""

SUBJECT = (
    r"^\W*+(?:(?:the|its|all|this|all\s+of\s+the)\s+)?(?:(?:response|answer|assistant|model|output|reply|explanation|text"
    r"|message|information|content|advice|code|program|function|essay|letter|poem|story|email|summary|report|translation"
    r"|solution|proof|reasoning|argument|conclusion|statement|claim|fact|figure|number)s?\s+)?"
)
_WORD = re.compile(r"[^\W_]+(?:['\u2019.,/-][^\W_]+)*")
_PARENTHESES = re.compile(r"\([^()]*\)")


def of(text: str) -> list[str]:
    """The words, in lower case."""
    return _WORD.findall(text[:READ_CHARACTERS].casefold().replace("\u2019", "'"))


def statement(text: str) -> str:
    """What the criterion says, without what stands in parentheses, such as a justification."""
    return _PARENTHESES.sub(" ", text[:READ_CHARACTERS])


def listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


STOP = listed(
    "a an the this that these those it its they them their he she his her you your we our i my one ones some any "
    "each every all both either and or but nor so than then as at by for from in into of on onto to up with "
    "within about over under through during is are be been being was were has have had having do does did will "
    "would shall should must can could may might if when while where whether which who whom whose what how why "
    "there here also only just even very quite rather more most much many such e.g i.e"
)
NEGATIONS = listed(
    "not no never none nothing without avoid avoids avoiding cannot can't doesn't don't didn't isn't aren't won't "
    "wouldn't shouldn't mustn't fail fails failing refrain refrains lack lacks omit omits neglect neglects "
    "against nor neither"
)
QUALITIES = listed(
    "clear clearly concise concisely helpful helpfully accurate accurately correct correctly relevant complete "
    "completely comprehensive comprehensively thorough thoroughly detailed informative useful professional "
    "professionally polite politely respectful respectfully friendly empathetic empathetically empathy empathic "
    "compassionate compassion warm supportive appropriate appropriately adequate adequately sufficient "
    "sufficiently good well great nice nicely high high-quality quality proper properly suitable suitably "
    "reasonable reasonably effective effectively logical logically coherent coherently coherence consistent "
    "fluent fluently natural naturally easy easily simple simply understandable readable readability accessible "
    "engaging balanced neutral objective honest direct directly brief briefly succinct succinctly precise "
    "precisely clarity brevity conciseness professionalism practical actionable safe reliable trustworthy "
    "credible well-written well-structured well-organized well-organised organized organised structured "
    "grammatical grammatically fully best possible calm caring kind kindly verbose wordy lengthy overly too "
    "poorly unclear confusing vague rude unprofessional inaccurate incorrect irrelevant incomplete unhelpful "
    "dismissive robotic condescending repetitive insensitive impolite disorganized disorganised verbosity "
    "repetition redundancy redundant sloppy superficial insightful high-level polished meaningful satisfactory "
    "excellent smooth smoothly sensible sound user-friendly easy-to-understand easy-to-read tactful thoughtful "
    "long beautiful beautifully nuanced elegant elegantly interesting impressive creative persuasive convincing "
    "boring"
)
_GENERIC = listed(
    "response responses answer answers reply replies text explanation explanations information content language "
    "tone style manner way format formatting structure wording output assistant model user user's users reader "
    "reader's question questions question's query prompt prompt's request topic subject task problem issue need "
    "needs requirement requirements point points detail details part parts aspect aspects level amount length "
    "approach advice guidance support suggestion suggestions recommendation recommendations communication message "
    "handles handle criteria contains contain provides provide gives give uses use using maintains presents "
    "writes written communicates communicated communicating shows demonstrates delivers offers addresses explains "
    "describes responds stays remains keeps ensures makes make follows meets meet covers includes presented "
    "explained grammar spelling flow flows logic sounds sound reads read understand follow avoid avoids "
    "unnecessary overall general generally given asked non-expert audience sentence sentences words word ideas "
    "idea writing throughout tone's voice delivered expressed conveys conveyed conveying free errors error "
    "mistakes code essay letter poem story email summary report translation solution proof reasoning argument "
    "conclusion paragraph paragraphs"
)
VAGUE = listed(
    "appropriate appropriately adequate adequately proper properly sufficient sufficiently reasonable reasonably "
    "suitable suitably good nice nicely helpful helpfully high-quality well-written well-structured "
    "well-organized well-organised decent satisfactory optimal meaningful etc enough important relevant efficient "
    "efficiently key best"
)
EXAMPLES = re.compile(
    r"\b(?:such\s+as|e\.g|i\.e|for\s+(?:example|instance)|including|like|namely|at\s+least|at\s+most"
    r"|no\s+more\s+than)\b|:|\d|[\"\u201c]",
    re.IGNORECASE,
)


def carries_nothing(word: str) -> bool:
    """Whether the word could stand in a criterion for any prompt."""
    return word in STOP or word in NEGATIONS or word in QUALITIES or word in _GENERIC


_SAME = {
    "say": (
        "says states stated stating state mentions mention mentioned mentioning notes note noting tells tell "
        "telling informs inform points indicates indicate explains explain explaining describes describe"
    ),
    "advise": (
        "recommends recommend recommending suggests suggest suggesting advises advise advising advice "
        "encourages urges instructs proposes instruct encourage urge propose"
    ),
    "give": "gives provides provide providing offers includes contains presents giving include lists list",
    "see": "seeing visiting visits visit consulting consults consult seeking seek",
    "doctor": "physician physicians doctors",
    "cite": "cites refers refer referring citing quotes quote quoting",
    "ask": "asks asking inquires enquires",
    "use": "uses using",
    "show": "shows demonstrates",
}
"""Words that a paraphrase exchanges, by the one that stands for them."""
_STEMS = {word: one for one, same in _SAME.items() for word in same.split()}


def stem(word: str) -> str:
    word = word.removesuffix("'s")
    if word in _STEMS:
        return _STEMS[word]
    for ending in ("ing", "ies", "ied", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            base = word.removesuffix(ending)
            return base + "y" if ending in ("ies", "ied") else base.removesuffix("e")
    return word.removesuffix("e") if len(word) > 3 else word
