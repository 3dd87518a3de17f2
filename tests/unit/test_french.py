"""French typography, one word for one thing, and nothing left in English."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import clipper_magic
import serving_image
from clipper_magic.messages import catalogue, phrases

ENTRIES = [
    (f"{kind}.{code}.{part}", text, catalogue.load(kind, "en")[code][part])
    for kind in ("text", "errors")
    for code, entry in catalogue.load(kind, "fr").items()
    for part, text in entry.items()
    if part != "msg"
] + [(f"phrases.{english}", text, english) for english, text in phrases.load("fr").items()]
SENTENCES = [pytest.param(french, id=name) for name, french, _ in ENTRIES]
NO_BREAK, NARROW = "\u00a0", "\u202f"

# Code is not prose: what is typed, called, or found in a file.
CODE = re.compile(
    r"`[^`]*`|\{\{.*?\}\}|[\w.]+\([^()]*\)|Content-Type: \S+|https?://\S+|«\s(?:sudo|docker|python)\b[^»]*»"
    r"|%%?clipper(?:_deploy)?(?: [a-z-]+\b)?(?: (?:--\S+|[A-Z]+…?|[\w{}:]*[:}]\S*))*"
    r"|--[\w-]+|[\w-]+\.(?:json|pkl)|\w+_\w+(?:=\S*)?|default-cluster|\[[\d., ]+\]"
)
TYPED = (f"query, metric ou admin (par défaut{NO_BREAK}: query)", "0.5s", "de 0.2 à 10", "Python 3.11")
ENGLISH = frozenset(
    """
    the and of is are was were be been with without not this that these those from has have had cannot must may
    which who what when where will would should could can does did it its by for to at into than there here your
    you query queries replica replicas cluster clusters default output outputs input inputs link links deploy
    deployed start started starting stop stopped running failed batch batches latency model models frontend
    frontends folder directory value name number found missing unknown unable already another others cell kernel
    list log logs ready update make making using used
    """.split()  # noqa: SIM905
)


def prose(sentence: str) -> str:
    """Return a sentence without its code; a placeholder is a word, and a plural stands there in both numbers."""
    for typed in TYPED:
        sentence = sentence.replace(typed, "x")
    both = re.sub(r"\{\w+:([^{}|]*)\|([^{}|]*)\}", r"\1 \2", sentence)
    return re.sub(r"\{[^}]*\}", "x", CODE.sub("x", both))


def words(sentence: str) -> set[str]:
    """Return the words of a sentence's prose in lower case; the names of parameters (``MODEL``) are none."""
    return {word.lower() for word in re.findall(r"[^\W\d_][\w-]*", prose(sentence)) if not word.isupper()} - {"x"}


@pytest.mark.parametrize("sentence", SENTENCES)
def test_double_punctuation_has_its_own_space(sentence: str) -> None:
    """A narrow one before ; ! ? and %, a whole one before : and inside « »; neither ever breaks a line."""
    text = prose(sentence)

    assert re.findall(rf"(?<!«)[^{NARROW}][;!?%](?=\s|$)", text) == []
    assert re.findall(rf"[^{NO_BREAK}]:(?=\s|$)", text) == []
    assert re.findall(rf"«[^{NO_BREAK}]|[^{NO_BREAK}]»", text) == []
    assert re.findall(rf"[ {NO_BREAK}{NARROW}][{NO_BREAK}{NARROW}]|[{NO_BREAK}{NARROW}] ", text) == []


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_number_is_not_parted_from_its_unit(sentence: str) -> None:
    assert re.findall(r"(?:\d|x)[ \u00a0](?:µs|ms|s|min|h|Gio)(?![\w’])", prose(sentence)) == []


@pytest.mark.parametrize("sentence", SENTENCES)
def test_decimals_have_a_comma(sentence: str) -> None:
    assert re.findall(r"\d\.\d", prose(sentence)) == []


@pytest.mark.parametrize("sentence", SENTENCES)
def test_apostrophes_quotes_and_dots_are_typographic(sentence: str) -> None:
    assert re.findall(r"[^\W\d_]'[^\W\d_«]|\b(?:[cdjlmnst]|qu)'", prose(sentence), re.IGNORECASE) == []
    assert '"' not in prose(sentence).replace('"texte"', "")
    assert "..." not in sentence


@pytest.mark.parametrize("sentence", SENTENCES)
def test_one_word_for_one_thing_and_none_of_them_english(sentence: str) -> None:
    """The glossary's words: grappe (not cluster), réplique (not replica), requête (not query), lot (not batch)."""
    assert words(sentence) & ENGLISH == set()


@pytest.mark.parametrize(("name", "french", "english"), ENTRIES, ids=[name for name, _, _ in ENTRIES])
def test_no_sentence_is_the_english_one(name: str, french: str, english: str) -> None:
    """But for names, codes, and the words that the two languages share."""
    assert french != english or words(french) <= {"application", "python"}, name


def pieces(node: ast.AST) -> Iterator[str]:
    """Yield each text that an expression may be, ``{}`` for what is filled in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    elif isinstance(node, ast.IfExp):
        yield from (*pieces(node.body), *pieces(node.orelse))
    elif isinstance(node, ast.BoolOp):
        yield from (piece for value in node.values for piece in pieces(value))


def handed_in(tree: ast.AST) -> Iterator[str]:
    """Yield the texts of a module that become the value of a placeholder in ``phrases.FIELDS``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in phrases.FIELDS:
            yield from pieces(node.value)
        elif isinstance(node, ast.Assign):
            if any(isinstance(target, ast.Name) and target.id in phrases.FIELDS for target in node.targets):
                yield from pieces(node.value)
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value in phrases.FIELDS:
                    yield from pieces(value)


TREES, SERVING = (
    [ast.parse(path.read_text(encoding="utf-8")) for path in Path(str(package.__file__)).parent.rglob("*.py")]
    for package in (clipper_magic, serving_image)
)
LOGGED = {"was killed", "did not answer its health checks"}


def test_every_reason_that_the_program_gives_has_its_french() -> None:
    known = {re.sub(r"\{\w+\}", "{}", phrase) for phrase in phrases.load("fr")}
    # A command (pip install …) or a bound (>= 1) is the same in all languages.
    said = {text for tree in TREES for text in handed_in(tree) if re.search(r"[a-z]{2,} [a-z]{2,}", text)}

    assert said - known - LOGGED - {"pip install {}"} == set()


def test_every_phrase_is_still_said() -> None:
    """A phrase that no module says any more is no use; those of the operating system are said by it."""
    said = {text for tree in TREES + SERVING for node in ast.walk(tree) for text in pieces(node)}
    system = {"connection refused", "permission denied", "no such file or directory"}

    assert {phrase for phrase in phrases.load("fr") if re.sub(r"\{\w+\}", "{}", phrase) not in said} - system == set()


@pytest.mark.parametrize(
    ("english", "french"),
    [
        ("it ended with exit code 3", "il s’est arrêté avec le code 3"),
        ("redis:7 is not here and cannot be pulled (permission denied)",
         "redis:7 n’est pas ici et est impossible à télécharger (permission refusée)"),
        ("the user's own words", "the user's own words"),
    ],
)  # fmt: skip
def test_a_phrase_is_translated_and_data_is_not(english: str, french: str) -> None:
    assert phrases.translate(english, "fr") == french
    assert phrases.translate(english, "en") == english
