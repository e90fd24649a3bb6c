"""Choices and examples: every list of numbers is a valid sequence, and simpler is lower."""

from __future__ import annotations

from itertools import chain, repeat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlsprobe.fuzz.alphabet import CROWDS, LONGEST, alphabet, decode, encode, simpler, simplicity
from tlsprobe.fuzz.strategies import examples
from tlsprobe.language import format_groups, parse
from tlsprobe.model.fuzz import Example
from tlsprobe.model.verbs import SHAPES, Form, Treatment, Verb

PHRASES = (b"ping\nping\n", b"by")
LETTERS = alphabet(("1.3", "1.2"), frozenset(Form), has_goodbye=True, idle=2.0, phrases=PHRASES)
CHAPTERS = alphabet(
    *(("1.3", "1.2"), frozenset(Form), True, 2.0, PHRASES), chapters=frozenset({"control", "wire"})
)
SOME = settings(max_examples=2 * settings().max_examples, database=None, derandomize=True)


def example(steps: str, tls: str = "1.3") -> Example:
    return Example(parse(steps), tls)


@SOME
@given(examples(lambda: LETTERS))
def test_what_is_printed_parses_to_the_same_value(made: Example) -> None:
    assert parse(format_groups(made.sequence.groups)) == made.sequence
    assert made.steps == format_groups(made.sequence.groups)


@SOME
@given(examples(lambda: LETTERS))
def test_an_example_can_be_said_in_choices_and_read_back(made: Example) -> None:
    choices = encode(LETTERS, made)
    assert choices is not None
    stream = iter(choices)
    assert decode(LETTERS, lambda _: next(stream)) == made


@SOME
@given(st.lists(st.integers(0, 10**6)))
def test_any_numbers_at_all_are_a_valid_sequence(numbers: list[int]) -> None:
    stream = chain(numbers, repeat(0))
    made = decode(LETTERS, lambda most: next(stream) % (most + 1))
    assert parse(made.steps) == made.sequence
    assert len(made.sequence.steps) <= LONGEST + 2
    assert made.sequence.steps[-1].verb is Verb.DRAIN


@SOME
@given(examples(lambda: CHAPTERS))
def test_what_is_drawn_of_chapters_is_said_printed_and_read_back(made: Example) -> None:
    assert parse(format_groups(made.sequence.groups)) == made.sequence
    assert made.sequence.fits(made.tls)
    choices = encode(CHAPTERS, made)
    assert choices is not None
    stream = iter(choices)
    assert decode(CHAPTERS, lambda _: next(stream)) == made


def test_a_chapter_brings_its_verbs_and_its_treatments() -> None:
    steps = {step for move in CHAPTERS.moves for step in move.steps}
    assert {step.verb for step in steps} >= {Verb.ALERT, Verb.KEY_UPDATE} | SHAPES
    assert {step.treatment for step in steps} == {None, *Treatment}
    usual = [move for move in CHAPTERS.moves if move in LETTERS.moves]
    assert usual == list(LETTERS.moves)  # what was simplest still is


def test_what_a_chapter_adds_is_less_simple_than_what_is_always_drawn() -> None:
    usual = simplicity(CHAPTERS, example("send upload; fin; drain"))
    assert usual < simplicity(CHAPTERS, example("alert fatal internal_error; fin; drain"))
    assert usual < simplicity(CHAPTERS, example("lose close_notify; fin; drain"))


@pytest.mark.parametrize("said", ["key_update", "send full"])
def test_what_one_version_has_is_not_said_in_the_other(said: str) -> None:
    steps = f"{said}; close_notify; drain"
    choices = encode(CHAPTERS, example(steps))
    assert choices is not None
    later = iter((CHAPTERS.versions.index("1.2"), *choices[1:]))
    assert decode(CHAPTERS, lambda _: next(later, 0)).steps == "close_notify; drain"
    assert encode(CHAPTERS, example(steps, "1.2")) is None
    assert not any(
        one.tls == "1.2" for one in simpler(CHAPTERS, example(steps)) if one.steps == steps
    )


def test_nothing_is_drawn_that_leaves_open_what_a_server_owes() -> None:
    drawn = {step.verb for move in LETTERS.moves for step in move.steps}
    assert not drawn & {Verb.ALERT, Verb.KEY_UPDATE}
    assert {Verb.FIN, Verb.CLOSE_NOTIFY, Verb.TERMINATE, Verb.REQUEST, Verb.ABORT} <= drawn


def test_nothing_at_all_is_the_simplest_close() -> None:
    assert decode(LETTERS, lambda _: 0) == example("fin; drain")


@pytest.mark.parametrize(
    ("simpler", "than"),
    [
        ("fin; drain", "close_notify; drain"),
        ("close_notify; drain", "close_notify; fin; drain"),
        ("close_notify; drain", "close_notify split; drain"),
        ("close_notify; terminate; drain", "close_notify + terminate; drain"),
        ("send; fin; drain", "send large; fin; drain"),
        ("pause 50us; fin; drain", "pause 0.3s; fin; drain"),
    ],
)
def test_a_simpler_close_comes_first(simpler: str, than: str) -> None:
    assert simplicity(LETTERS, example(simpler)) < simplicity(LETTERS, example(than))


def test_the_newer_tls_version_is_the_simpler_one() -> None:
    newer, older = example("fin; drain"), example("fin; drain", "1.2")
    assert simplicity(LETTERS, newer) < simplicity(LETTERS, older)


@pytest.mark.parametrize("steps", ["await end idle; drain", "fin", 'send "yes"; fin; drain'])
def test_what_the_alphabet_cannot_say_is_told(steps: str) -> None:
    assert encode(LETTERS, example(steps)) is None


def test_pauses_come_near_the_idle_timeout_and_draws_mean_the_same_without_it() -> None:
    unaware = alphabet(("1.3", "1.2"), frozenset(Form), has_goodbye=True, phrases=PHRASES)
    waits = {step.wait for move in LETTERS.moves for step in move.steps if step.verb is Verb.SLEEP}
    assert {1.0, 1.96, 2.0, 2.1} <= waits
    shapes = [[len(move.steps) for move in letters.moves] for letters in (unaware, LETTERS)]
    assert shapes[0] == shapes[1]


def test_an_expiry_is_answered_once_where_it_is_known_when_it_comes() -> None:
    answers = [step for move in LETTERS.moves for step in move.steps if step.verb is Verb.ANSWER]
    assert [step.wait for step in answers] == [2.4]
    assert encode(LETTERS, example("request; answer 2.4s; fin; drain")) is not None
    assert encode(LETTERS, example("answer 2.4s; answer 2.4s; fin; drain")) is None
    unaware = alphabet(("1.3",), frozenset(Form), has_goodbye=True)
    assert encode(unaware, example("request; answer 2.4s; fin; drain")) is None


def test_a_crowd_is_drawn_now_and_then_and_is_less_simple_than_one_connection() -> None:
    def together(number: int) -> int:
        return decode(LETTERS, lambda most: min(number, most)).together

    drawn = [together(number) for number in range(40)]
    assert set(drawn) == set(CROWDS)
    assert drawn.count(1) > len(drawn) / 2
    one, many = (Example(parse("fin; drain"), "1.3", together) for together in (1, 16))
    assert simplicity(LETTERS, one) < simplicity(LETTERS, many)
    assert encode(LETTERS, Example(one.sequence, "1.3", 5)) is None


def test_a_protocol_without_goodbye_or_large_requests_has_none() -> None:
    bare = alphabet(("1.3",), frozenset(), has_goodbye=False)
    steps = {step for move in bare.moves for step in move.steps}
    assert not any(step.verb is Verb.TERMINATE for step in steps)
    assert not any(step.form in {Form.LARGE, Form.UPLOAD} for step in steps)


def test_a_request_for_our_certificate_is_drawn_where_profile_and_chapter_have_it() -> None:
    def drawn(offered: frozenset[Form], chapters: frozenset[str]) -> set[str]:
        letters = alphabet(("1.3", "1.2"), offered, has_goodbye=True, chapters=chapters)
        steps = (step for move in letters.moves for step in move.steps)
        return {step.label for step in steps if step.form is Form.GUARDED}

    control, guarded = frozenset({"control"}), frozenset({Form.GUARDED})
    assert drawn(guarded, control) == {"send guarded", "request guarded"}
    assert drawn(guarded, frozenset()) == drawn(frozenset(), control) == set()
    assert encode(CHAPTERS, example("send guarded; fin; drain")) is not None
    assert encode(CHAPTERS, example("send guarded; fin; drain", "1.2")) is None, "it has none"
