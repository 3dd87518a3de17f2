"""How a line is read: tokens, parameters, values."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipper_magic.commands import REGISTRY
from clipper_magic.commands.grammar import Command, Parameter, parse, split, usage
from clipper_magic.commands.inputs import as_function_gets_it, inputs_of
from clipper_magic.commands.kinds import DURATION, FLAG, JSON, LIST, MODEL_VERSION, TypedValue, number, text
from clipper_magic.commands.tokens import UnclosedError, tokenize
from clipper_magic.exceptions import ClipperUsageError


@pytest.mark.parametrize(
    ("line", "texts"),
    [
        ("", []),
        ("  a   b ", ["a", "b"]),
        ('predict app "[1, 2]"', ["predict", "app", "[1, 2]"]),
        ("predict app [1.1, [2, 3]] x", ["predict", "app", "[1.1, [2, 3]]", "x"]),
        ('x {"a": [1, "]"]} y', ["x", '{"a": [1, "]"]}', "y"]),
        ("--check=[1, 2] z", ["--check=[1, 2]", "z"]),
        ("--default-output='a b'", ["--default-output=a b"]),
        (r'"a \" b"', [r"a \" b"]),
        ("''", [""]),
    ],
)
def test_tokens_keep_json_and_quoted_text_whole(line: str, texts: list[str]) -> None:
    assert [token.text for token in tokenize(line)] == texts


@given(st.text())
def test_tokens_are_where_they_say_and_lose_nothing_but_blanks(line: str) -> None:
    tokens = tokenize(line, lenient=True)

    assert [line[token.start : token.end] for token in tokens] == [token.raw for token in tokens]
    covered = {i for token in tokens for i in range(token.start, token.end)}
    assert all(line[i].isspace() for i in range(len(line)) if i not in covered)


@pytest.mark.parametrize("line", ['a "b', "a 'b", "a [1, 2", 'a {"b": "}"'])
def test_what_is_open_is_refused(line: str) -> None:
    with pytest.raises(UnclosedError):
        tokenize(line)


TOY = Command(
    "toy",
    lambda session, args: None,
    (
        Parameter("APP", text("APP"), required=True),
        Parameter("NAMES", text("NAME"), repeats=True),
        Parameter("--slo", DURATION),
        Parameter("--replicas", number(0), default=1),
        Parameter("--fast", FLAG, short="-f"),
        Parameter("--pkgs", LIST),
        Parameter("--default-output", text("S")),
        Parameter("--check", JSON),
    ),
)


def read(line: str) -> SimpleNamespace:
    return parse(TOY, split(line))


def test_absent_parameters_have_their_defaults() -> None:
    args = read("hello")

    assert (args.app, args.names, args.slo, args.replicas, args.fast, args.pkgs) == (
        "hello",
        None,
        None,
        1,
        False,
        None,
    )
    assert (args.output, args.help) == (None, False)


@pytest.mark.parametrize(
    ("line", "attribute", "value"),
    [
        ("a --slo 100ms", "slo", 100_000),
        ("a --slo=0.5s", "slo", 500_000),
        ("a --slo 250us", "slo", 250),
        ("a --replicas 3", "replicas", 3),
        ("a -f", "fast", True),
        ("--fast a", "app", "a"),
        ("a b c", "names", ["b", "c"]),
        ("a --pkgs numpy,scikit-learn", "pkgs", ["numpy", "scikit-learn"]),
        ("a --default-output -1.0", "default_output", "-1.0"),
        ("a --default-output -inf", "default_output", "-inf"),
        ("a --default-output=--x", "default_output", "--x"),
        ('a --default-output ""', "default_output", ""),
        ("a -o result", "output", "result"),
        ("a --help --nonsense", "help", True),
    ],
)
def test_a_value_is_converted(line: str, attribute: str, value: object) -> None:
    assert getattr(read(line), attribute) == value


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("", "missing-argument"),
        ("a --slow 1", "unknown-option"),
        ("a --slo", "missing-value"),
        ("a --slo --fast", "missing-value"),
        ("a --slo 100", "bad-duration"),
        ("a --slo -1ms", "bad-duration"),
        ("a --replicas -1", "bad-number"),
        ("a --replicas many", "bad-number"),
        ("a --fast=yes", "no-value-wanted"),
        ('a "b', "unclosed"),
    ],
)
def test_a_bad_line_has_a_code(line: str, code: str) -> None:
    with pytest.raises(ClipperUsageError) as caught:
        read(line)

    assert caught.value.code == code


@pytest.mark.parametrize(
    ("typed", "input_type", "expected"),
    [
        ("[1.1, 2]", "doubles", ("input", [1.1, 2])),
        ("[[1], [2]]", "doubles", ("input_batch", [[1], [2]])),
        ('"[1, 2]"', "integers", ("input", [1, 2])),
        ("[]", "doubles", ("input", [])),
        ("hello", "strings", ("input", "hello")),
        ('"hello world"', "strings", ("input", "hello world")),
        ('"1.5"', "strings", ("input", "1.5")),
        ("1.5", "strings", ("input", "1.5")),
        ('["a", "b"]', "strings", ("input_batch", ["a", "b"])),
        ("['a', 'b']", "strings", ("input_batch", ["a", "b"])),
        ("aGVsbG8=", "bytes", ("input", "aGVsbG8=")),
        ("1.5", "doubles", ("input", 1.5)),
        ('{"a": [1, null]}', "json", ("input", {"a": [1, None]})),
        ("{'a': [1, None]}", "json", ("input", {"a": [1, None]})),
        ("""'{"a": 1}'""", "json", ("input", {"a": 1})),
        ('[{"a": 1}, 2]', "json", ("input_batch", [{"a": 1}, 2])),
        ("[[1, 2]]", "json", ("input_batch", [[1, 2]])),
        ('"1.5"', "json", ("input", "1.5")),
        ("1.5", "json", ("input", 1.5)),
        ("null", "json", ("input", None)),
    ],
)
def test_a_typed_value_is_read_by_input_type(typed: str, input_type: str, expected: tuple[str, Any]) -> None:
    [token] = tokenize(typed)

    assert inputs_of(TypedValue("JSON", token), input_type) == expected


@pytest.mark.parametrize("input_type", ["doubles", "json"])
@pytest.mark.parametrize("typed", ["[1, x]", "[NaN]"])
def test_what_is_no_json_is_refused(typed: str, input_type: str) -> None:
    [token] = tokenize(typed)

    with pytest.raises(ClipperUsageError) as caught:
        inputs_of(TypedValue("JSON", token), input_type)

    assert caught.value.code == "bad-json-value"


@pytest.mark.parametrize(
    ("value", "expected"), [("aGVsbG8=", b"hello"), (["aGVsbG8="], [b"hello"]), ("not base64!", "not base64!"), (3, 3)]
)
def test_bytes_come_in_base64(value: object, expected: object) -> None:
    assert as_function_gets_it(value, "bytes") == expected


def test_a_model_may_have_its_version_behind_it() -> None:
    for typed, expected in {"m": ("m", None), "m:2": ("m", "2"), "m:": ("m", None)}.items():
        [token] = tokenize(typed)
        assert MODEL_VERSION.convert("NAME", token) == expected


def test_usage_lines_are_as_in_the_grammar() -> None:
    expected = {
        "link": "%clipper link APP MODEL",
        "rollback": "%clipper rollback MODEL",
        "replicas": "%clipper replicas [NAME[:V] [N]]",
        "register": "%clipper register APP --input-type T --default-output S (--slo 100ms | --slo-micros N)",
        "predict": "%clipper predict APP JSON [--version V]",
    }

    assert {name: usage(REGISTRY[name]) for name in expected} == expected
    assert usage(REGISTRY["clipper_deploy"]).startswith("%%clipper_deploy NAME")


@pytest.mark.parametrize("command", REGISTRY.values(), ids=lambda c: c.name)
def test_no_command_has_two_parameters_of_one_name(command: Command) -> None:
    names = [p.dest for p in command.parameters] + ["output", "help"]
    shorts = [p.short for p in command.options if p.short]

    assert len(set(names)) == len(names)
    assert len(set(shorts)) == len(shorts)
