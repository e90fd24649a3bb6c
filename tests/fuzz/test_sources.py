"""What is tried: the short closes first, then what is drawn, and changes of what was new."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from tests.fuzz.test_properties import seen
from tlsprobe.catalogue import catalogue
from tlsprobe.fuzz.alphabet import alphabet, encode
from tlsprobe.fuzz.database import Database
from tlsprobe.fuzz.mutation import mutant
from tlsprobe.fuzz.sources import Sources
from tlsprobe.fuzz.starting import first_examples
from tlsprobe.language import parse
from tlsprobe.model.fuzz import Example
from tlsprobe.model.verbs import Form, Verb

VERSIONS = ("1.3", "1.2")
LETTERS = alphabet(VERSIONS, frozenset({Form.LARGE}), has_goodbye=True, idle=2.0)


def first(*, has_goodbye: bool = True) -> tuple[Example, ...]:
    return first_examples(VERSIONS, frozenset({Form.LARGE}), 3.0, has_goodbye=has_goodbye)


@pytest.mark.slow
def test_every_close_of_one_step_and_of_two_comes_first_in_both_versions() -> None:
    alone = [example for example in first() if example.together == 1 and not example.beside]
    made = {(example.steps, example.tls) for example in alone}
    for asked in ("", "request; ", "send; ", "request large; ", "send large; ", "send part; "):
        for close in ("fin", "close_notify", "terminate", "close_notify; fin", "terminate; send"):
            for version in VERSIONS:
                assert (f"{asked}{close}; drain", version) in made
    assert len(made) == len(alone)
    assert len(first()) > len(alone)


def test_a_protocol_without_a_goodbye_is_told_none() -> None:
    every = [one for e in first(has_goodbye=False) for one in (e, e.beside) if one is not None]
    assert not any(one.sequence.uses(Verb.TERMINATE) for one in every)


def test_each_way_to_end_is_tried_beside_a_connection_that_goes_on() -> None:
    beside = [example for example in first() if example.beside is not None]
    ends = {one.beside.steps for one in beside if one.beside is not None}
    assert {"terminate; drain", "abort; drain", "close_notify; drain", "fin; drain"} <= ends
    assert {example.tls for example in beside} == set(VERSIONS)
    assert all(example.sequence.uses(Verb.SEND) for example in beside)


@pytest.mark.slow
def test_the_sequences_of_a_chapter_come_early_and_only_where_it_is_asked_for() -> None:
    asked = frozenset({"control", "wire"})
    made = first_examples(VERSIONS, frozenset({Form.LARGE}), 3.0, has_goodbye=True, chapters=asked)
    usual = list(first())
    added = set(made) - set(usual)
    wire = catalogue()["fin-before-alert"].sequence.groups
    assert {"1.2", "1.3"} == {e.tls for e in added if e.sequence.groups == wire}
    assert all(example.sequence.fits(example.tls) for example in made)
    assert not any(example.sequence.uses(Verb.RESUME) for example in made)
    assert [e for e in made if e not in added] == usual


def test_a_mutant_has_only_what_its_version_has() -> None:
    asked = frozenset({"control"})
    letters = alphabet(VERSIONS, frozenset(), has_goodbye=True, chapters=asked)
    chance = random.Random(1)
    parents = [Example(parse("key_update; close_notify; drain"), "1.3")]
    made = [mutant(letters, parents, chance) for _ in range(300)]
    assert any(example.tls == "1.2" for example in made)
    assert all(example.sequence.fits(example.tls) for example in made)


@pytest.mark.slow
def test_a_mutant_is_valid_and_never_its_parent() -> None:
    chance = random.Random(1)
    parents = list(first())
    for _ in range(500):
        made = mutant(LETTERS, parents, chance)
        assert parse(made.steps) == made.sequence
        assert made.sequence.steps[-1].verb is Verb.DRAIN


@pytest.mark.slow
def test_what_is_new_has_offspring_and_what_came_too_late_none() -> None:
    async def given() -> None:
        sources = Sources(LETTERS, first()[:1], (), 7)
        async with sources.open(10):
            assert await sources.next() == first()[0]
            drawn = await sources.next()
            new = seen("close_notify; sleep 0.1s; send; drain")
            sources.learn(replace(new, over_before=1), is_new=True)
            assert drawn.sequence.steps
            assert sources.parents == [new.example]
            assert sources.is_dead(new.example)
            assert not sources.is_dead(seen("close_notify; sleep 0.1s; drain").example)
            assert await sources.next() != new.example

    trio.run(given)


def test_failures_are_remembered_by_profile(tmp_path: Path) -> None:
    example = Example(parse("terminate; close_notify; drain"), "1.2", 8)
    Database(tmp_path, "postgres").add(example)
    assert Database(tmp_path, "postgres").read() == (example,)
    assert Database(tmp_path, "nginx").read() == ()


@pytest.mark.parametrize("comes_back", [True, False])
def test_sessions_of_earlier_connections_are_tried_where_another_connection_can_fetch_them(
    comes_back: bool,
) -> None:
    offered = frozenset[Form]()
    made = first_examples(VERSIONS, offered, 3.0, has_goodbye=True, comes_back=comes_back)
    letters = alphabet(VERSIONS, offered, has_goodbye=True, comes_back=comes_back)
    begins = {(example.sequence.steps[0].verb, example.tls) for example in made}
    wanted = {(Verb.RESUMED, "1.2"), (Verb.RESUMED, "1.3"), (Verb.EARLY, "1.3")}
    drawn = {move.steps[0].verb for move in letters.moves}
    assert begins & wanted == (wanted if comes_back else set())
    assert drawn & {Verb.RESUMED, Verb.EARLY} == {verb for verb, _ in begins & wanted}
    assert (Verb.EARLY, "1.2") not in begins, "TLS 1.2 has none"
    back = [example for example in made if example.sequence.comes_back]
    assert all(encode(letters, example) is not None for example in back)
