"""Endings: the server's part of what most trials showed, comparable and in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.report.builders import clean, make_run, unsupported
from tests.report.vendors import cell
from tlsprobe.model.judgement import Verdict
from tlsprobe.report.ending import (
    NOT_MEASURED,
    Ending,
    describe_ending,
    ending_of,
    endings_of,
    events_of,
)


@pytest.mark.parametrize(
    ("signature", "events"),
    [
        ("G N n r", "nr"),
        ("N f F", "f"),
        ("N F f", "f"),
        ("DNF d nf", "nf"),
        ("n f N r r r", "nfr"),
        ("H N h a f", "af"),
        ("G g d n f", "nf"),
        ("N D", ""),
        ("", ""),
    ],
)
def test_events_are_the_servers_own(signature: str, events: str) -> None:
    assert events_of(signature) == events


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        (Ending("clean", "nf", 5, 5), "close_notify, FIN"),
        (Ending("no-close-notify", "f", 5, 5), "FIN"),
        (Ending("reset-before-fin", "nr", 5, 5, 5), "close_notify, RST"),
        (Ending("reset-before-fin", "r", 4, 5, 4), "RST 4/5"),
        (Ending("reset-after-fin", "fr", 4, 5, 1), "FIN, RST 4/5 (RST in place of FIN 1/5)"),
        (Ending("open", "", 5, 5), "stays open"),
        (Ending("open", "n", 5, 5), "close_notify, no FIN"),
        (Ending("client-reset", "", 5, 5), "nothing"),
        (Ending("data-lost", "f", 5, 5), "FIN, data lost"),
    ],
)
def test_an_ending_in_words(ending: Ending, words: str) -> None:
    assert ending.describe() == words


def test_where_our_fin_fell_makes_no_difference() -> None:
    signatures = {"N F n f": 7, "N n F f": 6, "N n f F": 5, "N n r": 2}
    ending = ending_of(replace(clean(), signatures=signatures))
    assert ending is not None
    assert (ending.events, ending.count, ending.trials) == ("nf", 18, 20)


def test_of_two_equals_the_worse_counts() -> None:
    mixed = replace(
        clean(),
        outcomes={"clean": 10, "reset-before-fin": 10},
        signatures={"n f": 10, "n r": 10},
    )
    ending = ending_of(mixed)
    assert ending is not None
    assert (ending.outcome, ending.events) == ("reset-before-fin", "nr")
    assert ending.is_reset_for_fin


@pytest.mark.parametrize("verdict", [Verdict.UNSUPPORTED, Verdict.ERROR, Verdict.INCONCLUSIVE])
def test_no_answer_is_no_ending(verdict: Verdict) -> None:
    assert ending_of(replace(clean(), verdict=verdict)) is None


def test_versions_that_agree_are_folded() -> None:
    alike = make_run(clean(tls="1.2"), clean(tls="1.3"))
    assert describe_ending(alike, "terminate") == "close_notify, FIN"
    unlike = make_run(clean(tls="1.2"), cell("terminate", "f", "1.3"))
    assert describe_ending(unlike, "terminate") == "1.2: close_notify, FIN; 1.3: FIN"
    assert describe_ending(make_run(unsupported("terminate", "1.2")), "terminate") == "unsupported"
    assert describe_ending(make_run(), "terminate") == NOT_MEASURED


def test_controls_tell_nothing_of_the_server() -> None:
    assert describe_ending(make_run(replace(clean(), role="control")), "terminate") == NOT_MEASURED


def test_the_sequence_in_which_something_happened_answers() -> None:
    run = make_run(cell("idle-expiry-reply", ""), cell("server-close-reply", "n r"))
    ((_, ending),) = endings_of(run, ("idle-expiry-reply", "server-close-reply"))
    assert ending.events == "nr"
    ((_, ending),) = endings_of(run, ("idle-expiry-reply",))
    assert ending.events == ""
    assert endings_of(run, ("half-close",)) == []
