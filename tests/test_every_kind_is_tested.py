"""Whatever is added to a table of the language or of the protocols is tried by some test.

Rules and causes have tables of their own that want a row for each:
``tests/judge/test_rules_table.py``, ``tests/e2e/test_rules.py`` and
``tests/judge/causes/test_each_cause.py``.

CONTRIBUTING.md, "Adding things": these are the tests that fail without.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest

from tlsprobe.catalogue import catalogue
from tlsprobe.errors import SequenceError
from tlsprobe.language import parse
from tlsprobe.model.sequence import Awaited, Step
from tlsprobe.model.verbs import Form, Verb
from tlsprobe.profiles import list_profiles, load_profile
from tlsprobe.protocols import PROTOCOLS, protocol_of

TESTS = Path(__file__).parent
E2E = TESTS / "e2e"


def literals(*files: Path) -> Iterator[str]:
    """Every string that these files hold, the docstrings too."""
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


@cache
def driven() -> frozenset[Step]:
    """The steps of all sequences that go over a connection in ``tests/drive``.

    Races need a server whose timer is known, which ``tests/e2e/test_race.py`` has.
    """
    texts = set(literals(*TESTS.glob("drive/test_*.py"), E2E / "test_race.py"))
    steps = {
        step for name in texts & catalogue().keys() for step in catalogue()[name].sequence.steps
    }
    for text in texts:
        with suppress(SequenceError):
            steps.update(parse(text).steps)
    return frozenset(steps)


@pytest.mark.parametrize("verb", Verb)
def test_every_verb_is_driven(verb: Verb) -> None:
    forms = {step.form for step in driven() if step.verb is verb}
    assert forms >= {*verb.row.forms, Form.WHOLE}


@pytest.mark.parametrize("awaited", Awaited)
def test_everything_that_can_be_awaited_is_driven(awaited: Awaited) -> None:
    assert awaited in {step.event for step in driven()}


@cache
def probed() -> frozenset[str]:
    """The protocols whose profiles tests/e2e names: they are probed on servers that are real."""
    named = set(literals(*E2E.glob("test_*.py"))) & set(list_profiles())
    return frozenset(protocol_of(load_profile(name)).name for name in named)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_is_probed(protocol: str) -> None:
    assert protocol in probed()
