"""In each line of a kind stands one of the kind's words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from re import _constants as code  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.captures.test_logs import ROWS
from tlsprobe.captures.log_kinds import LogKind
from tlsprobe.captures.log_words import LOGS, possible_kinds


def needs(tree: Iterable[tuple[Any, Any]], words: tuple[str, ...]) -> bool:
    """Whether no text matches a pattern that holds none of the words."""
    run = ""
    for kind, what in tree:
        run = run + chr(what).lower() if kind is code.LITERAL else ""
        if any(word in run for word in words):
            return True
        if kind is code.SUBPATTERN and needs(what[3], words):
            return True
        if kind is code.BRANCH and all(needs(branch, words) for branch in what[1]):
            return True
        repeats = kind in {code.MAX_REPEAT, code.MIN_REPEAT}
        if repeats and what[0] and needs(what[2], words):
            return True
    return False


@pytest.mark.parametrize("kind", LOGS, ids=lambda kind: kind.name)
def test_its_pattern_matches_nothing_without_them(kind: LogKind) -> None:
    assert needs(parser.parse(kind.pattern.pattern, re.IGNORECASE), kind.words)
    assert not needs(parser.parse(kind.pattern.pattern, re.IGNORECASE), ("no such word",))


LETTERS = {"i": "\u0130", "I": "\u0131", "s": "\u017f", "k": "\u212a"}
lines = st.tuples(st.sampled_from([row[1] for row in ROWS]), st.text(), st.booleans())


@pytest.mark.slow
@given(lines, st.sampled_from([str.upper, str.lower, str]), st.sampled_from(["", *LETTERS]))
def test_what_matches_is_possible(
    line: tuple[str, str, bool], case: type[str], letter: str
) -> None:
    """Also in other letters, and among others, as a pattern takes them."""
    text = case(line[0]) + line[1] if line[2] else line[1] + case(line[0])
    text = text.replace(letter, LETTERS[letter]) if letter else text
    found = [kind.name for kind in LOGS if kind.pattern.search(text)]
    assert set(found) <= {kind.name for kind in possible_kinds(text)}
