"""What a captioner said, made into a caption: cleaned, judged, with the subject's name, within its length. Pure."""

from __future__ import annotations

import html
import re
import unicodedata

from services.tagger.models.tags import MAX_CAPTION

_THOUGHT = re.compile(r"<(think|thinking|thought|reasoning|reflection)\b[^>]*>.*?(?:</\1\s*>|\Z)", re.I | re.S)
_LATE_THOUGHT = re.compile(r"\A.*</(?:think|thinking|thought|reasoning|reflection)\s*>", re.I | re.S)
_CODE = re.compile(r"<(script|style)\b.*?(?:</\1\s*>|\Z)", re.I | re.S)
_MARKUP = re.compile(r"<\|[^|<>]{0,60}\|>|</?[A-Za-z!][^<>]{0,300}>|```[a-z]*")
_TERMINAL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_EMPHASIS = re.compile(r"\*\*|__|(?<!\w)[*_`#]+|[*_`]+(?!\w)")
_OPENING = re.compile(
    r"""\A(?:
    (?:sure|certainly|of\ course|okay|ok)\b[^.:!\n]{0,80}[.:!]\s* |
    here(?:'s|\ is|\ are)\b[^.:\n]{0,80}:\s* |
    (?:the\ )?(?:image\ |photo\ |picture\ )?(?:caption|description|answer)\s*
        (?:\ of\ the\ (?:image|picture|photo))?\s*:\s* |
    (?:in\ )?(?:the|this)\ (?:image|photo(?:graph)?|picture|scene)\s*(?:,\s*)?
        (?:(?:clearly\ )?(?:shows|depicts|features|captures|displays|presents|portrays|contains|is\ of|
        we\ (?:can\ )?see|you\ (?:can\ )?see|there\ (?:is|are))\s+|,\s*)
    )""",
    re.I | re.X,
)
_REFUSAL = re.compile(
    r"\A\W*(?:i(?:'m|’m|\ am)\ (?:very\ |really\ )?(?:sorry|unable|not\ able|afraid)|sorry\b|i\ apologi[sz]e|"
    r"(?:unfortunately,?\ )?i\ (?:can(?:'t|’t|not|\ not)|could\ not|won(?:'t|’t)|must\ decline|do\ not|don(?:'t|’t))|"
    r"as\ an?\ (?:ai|language\ model|assistant)|unable\ to\b|no\ image\b)",
    re.I,
)
_QUOTES = "\"'“”‘’«»„`"
_PAIRS = {'"': '"', "'": "'", "“": "”", "‘": "’", "«": "»", "„": "“", "`": "`"}
_PIECES = re.compile(r"[^\W\d_]+|\d|[^\w\s]+|_+")
_LETTERS_A_TOKEN = 8
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_ENGLISH = frozenset(
    {
        "a", "an", "and", "are", "as", "at", "by", "for", "from", "has", "his", "her", "in", "into", "is", "it",
        "its", "near", "of", "off", "on", "over", "that", "the", "their", "there", "this", "to", "under", "up",
        "while", "with",
    }
)  # fmt: skip
_FOREIGN = frozenset(
    {
        "auf", "aux", "avec", "con", "da", "dans", "das", "de", "del", "dem", "den", "der", "des", "die", "do",
        "du", "een", "ein", "eine", "einem", "einen", "el", "elle", "em", "en", "est", "et", "het", "il", "ist",
        "la", "las", "le", "les", "los", "met", "mit", "na", "nel", "op", "os", "por", "su", "sul", "sur", "um",
        "uma", "una", "und", "une", "van", "von", "vor",
    }
)  # fmt: skip
_FEW_WORDS = 6
_ECHO_WORDS = 7


def cleaned(answer: str) -> str:
    """The answer as one line of plain text: without thoughts, markup, introductions, quotation marks and signs that
    nobody sees. "" where nothing is left.
    """
    text = _TERMINAL.sub("", answer[: 50 * MAX_CAPTION])
    text = _LATE_THOUGHT.sub("", _THOUGHT.sub(" ", text))
    text = html.unescape(_MARKUP.sub(" ", _CODE.sub(" ", text)))
    # Once more: what was escaped may have been markup.
    text = _EMPHASIS.sub("", _MARKUP.sub(" ", _CODE.sub(" ", text)))
    text = "".join(_visible(letter) for letter in unicodedata.normalize("NFC", text))
    text = " ".join(text.replace("<", " ").replace(">", " ").split())
    before = ""
    while text != before:
        before = text
        text = _unquoted(_OPENING.sub("", text).strip(" -–—•:"))
    return text if text[1:2].isupper() else text[:1].upper() + text[1:]


def complaint_about(text: str, *, prompt: str, avoid: tuple[str, ...]) -> str:
    """Why a cleaned answer is no caption, as a sentence that may be put to the model; "" for a good one."""
    words = [word.casefold() for word in _WORD.findall(text)]
    if len(words) < 2:
        return "It was empty."
    if _REFUSAL.match(text):
        return "It was a refusal."
    if _echoes(words, [word.casefold() for word in _WORD.findall(prompt)]):
        return "It repeated the question."
    if not _english(text, words):
        return "It was not in English."
    named = [word for word in avoid if holds(text, word)]
    return f"It used a word that was not to be used: {named[0]}." if named else ""


def named(text: str, trigger_word: str, class_noun: str) -> str:
    """The caption with the subject's noun in it and the trigger word before it. Applied twice it changes nothing.

    Without a noun the text stays: the dataset service puts a trigger word before any text that lacks it.
    """
    trigger, noun = trigger_word.strip(), class_noun.strip()
    if not noun:
        return text
    full = trigger if holds(trigger, noun) else f"{trigger} {noun}".strip()
    if holds(text, full) or (trigger and holds(text, trigger) and holds(text, noun)):
        return text
    match = re.search(rf"(?:\b(an?)\s+)?(?<!\w){_spaced(noun)}(?!\w)", text, re.I)
    if match is None:
        rest = text[:1].lower() + text[1:] if text[1:2].islower() or text[1:2] == " " else text
        return f"A photo of {full}, {rest}"
    article = f"{_article(match[1], full)} " if match[1] else ""
    return f"{text[: match.start()]}{article}{full}{text[match.end() :]}"


def shortened(text: str, *, limit: int) -> str:
    """The caption cut at the last sentence, clause or word that ends within the limit, in tokens; 0 is none."""
    if not _fits(text, limit):
        for ends in (r"[.!?](?=\s|$)", r"[,;](?=\s)", r"(?=\s)"):
            cuts = [match.end() for match in re.finditer(ends, text)]
            # Half of what there is room for is too little to lose for a whole sentence.
            fitting = [text[:cut] for cut in cuts if _fits(text[:cut], limit) and 2 * about_tokens(text[:cut]) >= limit]
            if fitting:
                return fitting[-1].rstrip(" ,;:-")
        return ""
    return text


def without_broken_end(text: str) -> str:
    """An answer that was cut short, up to its last whole sentence or clause."""
    ends = [match.end() for match in re.finditer(r"[.!?](?=\s|$)", text)] or [
        match.start() for match in re.finditer(r"[,;](?=\s)", text)
    ]
    return text[: ends[-1]] if ends else text


def about_tokens(text: str) -> int:
    """Tokens of a text, about, by the rule by which the trainer counts them."""
    pieces = _PIECES.findall(text)
    return sum(-(-len(piece) // _LETTERS_A_TOKEN) if piece.isascii() else len(piece) for piece in pieces)


def holds(text: str, words: str) -> bool:
    """Whether the words stand in the text whole, in any case of letters."""
    return bool(words.strip()) and re.search(rf"(?<!\w){_spaced(words)}(?!\w)", text, re.I) is not None


def _spaced(words: str) -> str:
    return r"\s+".join(re.escape(word) for word in words.replace("_", " ").split())


def _visible(letter: str) -> str:
    category = unicodedata.category(letter)
    if category in ("Zl", "Zp", "Zs") or letter in "\n\r\t":
        return " "
    return "" if category in ("Cc", "Cf", "Cs", "Co", "Cn") else letter


def _unquoted(text: str) -> str:
    if len(text) > 1 and _PAIRS.get(text[0]) == text[-1]:
        return text[1:-1].strip()
    return text.strip(_QUOTES) if text[:1] in _QUOTES and not any(mark in text[1:-1] for mark in _QUOTES) else text


def _echoes(words: list[str], asked: list[str]) -> bool:
    """Whether a run of the question's words stands in the answer."""
    runs = {tuple(asked[at : at + _ECHO_WORDS]) for at in range(len(asked) - _ECHO_WORDS + 1)}
    return any(tuple(words[at : at + _ECHO_WORDS]) in runs for at in range(len(words) - _ECHO_WORDS + 1))


def _english(text: str, words: list[str]) -> bool:
    """By its letters, and in a longer text by its small words. A short one gets the benefit of the doubt."""
    letters = [letter for letter in text if letter.isalpha()]
    if sum("LATIN" in unicodedata.name(letter, "") for letter in letters) < 0.9 * len(letters):
        return False
    own, foreign = sum(word in _ENGLISH for word in words), sum(word in _FOREIGN for word in words)
    return own > 0 or foreign < 2 if len(words) < _FEW_WORDS else own >= foreign


def _article(found: str, following: str) -> str:
    article = "an" if following[:1].lower() in "aeiou" else "a"
    return article.capitalize() if found[:1].isupper() else article


def _fits(text: str, limit: int) -> bool:
    return len(text) <= MAX_CAPTION and (not limit or about_tokens(text) <= limit)
