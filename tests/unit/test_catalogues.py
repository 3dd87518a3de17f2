"""The sentences: same ids and fields in both languages, all used, all there."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest

import clipper_magic
from clipper_magic.commands import REGISTRY
from clipper_magic.commands.grammar import COMMON
from clipper_magic.commands.speech import FAMILIES
from clipper_magic.exceptions import ModelCheckError
from clipper_magic.messages import catalogue
from clipper_magic.wording import Texts

ENGLISH, FRENCH = (catalogue.load("text", language) for language in ("en", "fr"))
IDS = [(group, name) for group, entries in ENGLISH.items() for name in entries]
SOURCES = "\n".join(
    path.read_text(encoding="utf-8") for path in sorted(Path(clipper_magic.__file__).parent.rglob("*.py"))
)
BY_PARAMETER = ("command", "argument", "option")


def fields_of(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name is not None}


def test_both_languages_have_the_same_sentences() -> None:
    assert {(g, n) for g, entries in FRENCH.items() for n in entries} == set(IDS)


@pytest.mark.parametrize(("group", "name"), IDS)
def test_both_languages_have_the_same_fields(group: str, name: str) -> None:
    assert fields_of(ENGLISH[group][name]) == fields_of(FRENCH[group][name])


@pytest.mark.parametrize(("group", "name"), IDS)
def test_code_in_sentences_is_the_same_and_is_closed(group: str, name: str) -> None:
    both = [text[group][name] for text in (ENGLISH, FRENCH)]
    commands = [re.findall(r"`%clipper [a-z]*", sentence) for sentence in both]

    assert commands[0] == commands[1]
    assert all(sentence.count("`") % 2 == 0 for sentence in both)


def test_every_sentence_is_used() -> None:
    unused = [
        f"{group}.{name}"
        for group, name in IDS
        if group not in BY_PARAMETER
        and not re.search(rf'"{group}\.{name}"|"{name}"', SOURCES)
        and not name.startswith("family_")
        and group != "panel"
    ]

    assert unused == []


def test_every_command_and_parameter_is_described() -> None:
    described = {group: set(ENGLISH[group]) for group in BY_PARAMETER}
    parameters = {p for command in REGISTRY.values() for p in command.parameters} | set(COMMON)

    assert described["command"] == set(REGISTRY)
    assert described["argument"] == {p.name for p in parameters if not p.is_option}
    assert described["option"] == {p.name.lstrip("-") for p in parameters if p.is_option}


def test_help_lists_every_command_once() -> None:
    assert sorted(name for names in FAMILIES.values() for name in names) == sorted(REGISTRY)
    assert all(f"family_{family}" in ENGLISH["help"] for family in FAMILIES)


@pytest.mark.parametrize(
    ("language", "n", "expected"),
    [
        ("en", 0, "0 replicas ready"),
        ("en", 1, "1 replica ready"),
        ("en", 2, "2 replicas ready"),
        ("fr", 0, "0 réplique prête"),
        ("fr", 1, "1 réplique prête"),
        ("fr", 2, "2 répliques prêtes"),
    ],
)
def test_plurals(language: str, n: int, expected: str) -> None:
    assert Texts(language)("deploy.replicas_ready", n=n) == expected


@pytest.mark.parametrize(
    ("language", "got", "wanted", "expected"),
    [
        ("en", 0, 1, "f returned 0 outputs for 1 input; nothing was built."),
        ("en", 1, 2, "f returned 1 output for 2 inputs; nothing was built."),
        ("fr", 0, 1, "f a renvoyé 0 sortie pour 1 entrée\u202f; rien n’a été construit."),
        ("fr", 1, 2, "f a renvoyé 1 sortie pour 2 entrées\u202f; rien n’a été construit."),
    ],
)
def test_plurals_in_errors(language: str, got: int, wanted: int, expected: str) -> None:
    error = ModelCheckError.of("check-wrong-length", function="f", got=got, wanted=wanted)

    assert error.localized(language).startswith(expected)


COUNT = re.compile(r"\{(n|got|wanted|apps|models|replicas|services|ready)\}\s([^\W\d_]+)")
INVARIABLE = {"en": {"of", "ready", "requested", "s"}, "fr": {"fois", "sur", "s"}}


@pytest.mark.parametrize("language", ["en", "fr"])
def test_what_is_counted_has_both_numbers(language: str) -> None:
    """After a count comes {n:one|many}, or a word that has one form only."""
    sentences = [
        text
        for kind in ("text", "errors")
        for entry in catalogue.load(kind, language).values()
        for text in entry.values()
    ]
    fixed = {word for sentence in sentences for _, word in COUNT.findall(sentence)}

    assert fixed - INVARIABLE[language] == set()


@pytest.mark.parametrize(
    ("seconds", "english", "french"),
    [
        (0.0004, "400 µs", "400\u202fµs"),
        (0.34, "340 ms", "340\u202fms"),
        (0.9999, "1 s", "1\u202fs"),
        (1.24, "1.2 s", "1,2\u202fs"),
        (59.99, "1 min", "1\u202fmin"),
        (720, "12 min", "12\u202fmin"),
        (7200, "2 h", "2\u202fh"),
    ],
)
def test_durations(seconds: float, english: str, french: str) -> None:
    assert (Texts("en").duration(seconds), Texts("fr").duration(seconds)) == (english, french)


def test_numbers_and_quotes_follow_the_language() -> None:
    assert (Texts("en").number(3.14159), Texts("fr").number(3.14159)) == ("3.1", "3,1")
    assert (Texts("en").quoted("-1.0"), Texts("fr").quoted("-1.0")) == ('"-1.0"', "«\u00a0-1.0\u00a0»")


PYTHON = re.compile(r"\w\(|\w=|ClipperConnection|num_frontend_replicas|container_registry")


@pytest.mark.parametrize("language", ["en", "fr"])
@pytest.mark.parametrize("code", catalogue.load("errors", "en"))
def test_who_typed_a_magic_is_told_of_no_python_call(code: str, language: str) -> None:
    entry = catalogue.load("errors", language)[code]

    assert PYTHON.findall(entry.get("magic", entry.get("fix", ""))) == []
