"""French typography: no-break spaces before : ; ! ? and inside « », typographic and not English quotes."""

from __future__ import annotations

import re

import pytest

from clipper_magic.messages import catalogue

SENTENCES = [
    pytest.param(text, id=f"{kind}.{code}.{part}")
    for kind in ("text", "errors")
    for code, entry in catalogue.load(kind, "fr").items()
    for part, text in entry.items()
    if part != "msg"
]
NO_BREAK, NARROW = "\u00a0", "\u202f"


def prose(sentence: str) -> str:
    """Return a sentence without its code, its placeholders, calls and headers."""
    return re.sub(r"`[^`]*`|\w+\(.*\)|\{[^}]*\}|Content-Type: \S+", "x", sentence)


@pytest.mark.parametrize("sentence", SENTENCES)
def test_no_line_breaks_before_double_punctuation(sentence: str) -> None:
    assert re.findall(r" [:;!?»]", prose(sentence)) == []
    assert re.findall(r"« ", prose(sentence)) == []


@pytest.mark.parametrize("sentence", SENTENCES)
def test_double_punctuation_has_its_space(sentence: str) -> None:
    assert re.findall(rf"[^\s{NO_BREAK}{NARROW}][;!?»](?:\s|$)", prose(sentence)) == []
    assert re.findall(rf"[^\s{NO_BREAK}{NARROW}]:(?:\s|$)", prose(sentence)) == []
    assert re.findall(rf"«[^{NO_BREAK}{NARROW}]", prose(sentence)) == []


@pytest.mark.parametrize("sentence", SENTENCES)
def test_no_english_quotes_and_no_three_dots(sentence: str) -> None:
    assert '"' not in prose(sentence).replace('"texte"', "")
    assert "..." not in sentence


@pytest.mark.parametrize("sentence", SENTENCES)
def test_one_word_for_one_thing(sentence: str) -> None:
    """The glossary's words: grappe (not cluster), réplique (not replica), requête (not query)."""
    words = re.findall(
        r"[\wÀ-ÿ-]+", re.sub(r"%clipper[^»`]*|--\S+|--?[\w-]+|\{[^}]*\}|\w+\(\)|default-cluster", "", sentence)
    )
    assert not {"cluster", "replica", "replicas", "queries", "query"} & {word.lower() for word in words} - {"query"}
