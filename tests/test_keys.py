"""The keys of a table: every mistake at once, and values shown as a file has them."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsprobe.keys import Key, Keys, a_flag, a_login, a_text, checked, keys_of, shown, some_bytes
from tlsprobe.model.target import Login

KEYS: Keys = {
    "title": Key(a_text, required=True),
    "deep": Key(inside=a_login),
    "raw": Key(some_bytes, into="octets"),
}


@dataclass(frozen=True, slots=True)
class Made:
    text: Annotated[str, Key(a_text, "words")] = "x"
    login: Annotated[Login, Key(inside=a_login, help="who")] = field(default_factory=Login)
    ours: int = 1


def test_good_values_are_kept_by_field() -> None:
    mistakes: list[str] = []
    table = {"title": "a", "deep": {"user": "u"}, "raw": "\xff"}
    kept = {"title": "a", "deep": Login("u"), "octets": b"\xff"}
    assert checked(table, KEYS, "", mistakes) == kept
    assert mistakes == []


def test_every_mistake_is_told_with_its_path() -> None:
    mistakes: list[str] = []
    table = {"deep": {"user": 1, "host": "h"}, "raw": "\u20ac", "tilte": "x"}
    checked(table, KEYS, "outer", mistakes)
    assert mistakes == [
        "outer.title: missing; write it",
        "outer.deep.user: write a string",
        "outer.deep.host: unknown key; remove it, or write one of user, password, database",
        r"outer.raw: write a string of characters up to \u00ff, each of them one byte",
        "outer.tilte: unknown key; did you mean title?",
    ]


@pytest.mark.parametrize("table", [1, "x", [], None])
def test_what_is_no_table_is_told(table: object) -> None:
    mistakes: list[str] = []
    assert checked(table, KEYS, "outer", mistakes) == {}
    assert mistakes == ["outer: write a table, with a line [outer]"]


def test_the_keys_of_a_dataclass_are_those_that_its_fields_are_annotated_with() -> None:
    assert {name: key.help for name, key in keys_of(Made).items()} == {
        "text": "words",
        "login": "who",
    }
    assert keys_of(Made)["text"].check is a_text


@pytest.mark.slow
@given(st.text(st.characters(codec="latin-1")))
def test_text_and_bytes_are_shown_as_a_file_has_them(text: str) -> None:
    assert tomllib.loads(f"x = {shown(text)}") == {"x": text}
    assert tomllib.loads(f"x = {shown(text.encode('latin-1'))}") == {"x": text}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "not set"),
        (True, "true"),
        (60, "60"),
        (re.compile(b"^2.."), '"^2.."'),
        ((), "[]"),
        (("a", "b"), '["a", "b"]'),
        (Login(), "{}"),
        (Login("u", password="p"), '{ user = "u", password = "p" }'),
    ],
)
def test_other_values_are_shown(value: object, text: str) -> None:
    assert shown(value) == text


def test_a_flag_is_no_number() -> None:
    with pytest.raises(ValueError, match="true or false"):
        a_flag(1)
