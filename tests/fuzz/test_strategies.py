"""Hypothesis behind its fence: seeded, ended from outside, and leaving nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlsprobe.fuzz.alphabet import alphabet, simplicity
from tlsprobe.fuzz.strategies import Enough, generate, homeless, shrink
from tlsprobe.model.fuzz import Example
from tlsprobe.model.verbs import WRITES, Form, Verb

LETTERS = alphabet(("1.3", "1.2"), frozenset({Form.LARGE}), has_goodbye=True)


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def drawn(seed: int, most: int = 60) -> list[Example]:
    taken: list[Example] = []
    generate(lambda: LETTERS, seed, most, taken.append)
    return taken


def leaves_unread(example: Example) -> bool:
    """What a server like ``rude`` resets for: a word behind the one that asks for the end."""
    verbs = [step.verb for step in example.sequence.steps]
    ends = [i for i, verb in enumerate(verbs) if verb in {Verb.TERMINATE, Verb.CLOSE_NOTIFY}]
    return bool(ends) and any(verb in WRITES for verb in verbs[ends[0] + 1 :])


def shortest(start: Example) -> tuple[Example, int]:
    """What shrinking comes to, and how many examples it asked about."""
    best, asked = [start], set[Example]()

    def fails(example: Example) -> bool:
        asked.add(example)
        return leaves_unread(example)

    shrink(LETTERS, start, fails, best.append)
    return best[-1], len(asked)


@pytest.mark.slow
def test_a_seed_repeats_its_examples() -> None:
    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)


def test_generating_ends_when_nobody_wants_more() -> None:
    taken: list[Example] = []

    def take(example: Example) -> None:
        taken.append(example)
        if len(taken) == 5:
            raise Enough

    generate(lambda: LETTERS, 1, 1000, take)
    assert len(taken) == 5


@pytest.mark.slow
def test_a_failure_shrinks_to_two_words_in_few_questions() -> None:
    starts = [example for example in drawn(3, 400) if leaves_unread(example)][:20]
    assert len(starts) == 20
    for start in starts:
        found, asked = shortest(start)
        assert leaves_unread(found)
        assert len(found.sequence.steps) == 3, f"{start.steps} became {found.steps}"
        assert found.steps == "close_notify; close_notify; drain"
        assert found.tls == "1.3"
        assert simplicity(LETTERS, found) <= simplicity(LETTERS, start)
        assert asked <= 80


@pytest.mark.slow
def test_shrinking_keeps_what_it_has_when_it_is_ended() -> None:
    start = next(example for example in drawn(5, 400) if leaves_unread(example))
    told: list[Example] = []

    def fails(example: Example) -> bool:
        if told:
            raise Enough
        return leaves_unread(example)

    shrink(LETTERS, start, fails, told.append)
    assert all(leaves_unread(example) for example in told)


@pytest.mark.slow
def test_what_cannot_be_shrunk_further_is_left_as_it_is() -> None:
    simplest = next(example for example in drawn(1) if example.steps == "fin; drain")
    told: list[Example] = []
    shrink(LETTERS, simplest, lambda _: True, told.append)
    assert [example.steps for example in told] in ([], ["fin; drain"])


@pytest.mark.slow
def test_hypothesis_writes_nothing_where_we_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")  # for which hypothesis has a profile of its own
    with homeless():
        starts = [example for example in drawn(3, 300) if leaves_unread(example)]
        shortest(starts[0])
    assert list(tmp_path.iterdir()) == []
