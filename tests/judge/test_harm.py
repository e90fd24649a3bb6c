"""Whom an RST hurts, in a word: the same as the sentences say."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from tlsprobe.judge.harm import harm_of
from tlsprobe.judge.remedies import remedy_of, situation_of
from tlsprobe.model.causes import Cause
from tlsprobe.model.explanation import Harm
from tlsprobe.model.judgement import Confidence, Provoked, Reset
from tlsprobe.model.trace import Side

EVERY = list(product(Cause, Side, (None, *Provoked), (False, True)))


def reset(cause: Cause, side: Side, provoked: Provoked | None, after_idle: bool = False) -> Reset:
    return Reset(
        side=side,
        packet=1,
        time_ns=1,
        before_fin=cause.row.before_fin is not False,
        cause=cause,
        confidence=Confidence.HIGH,
        evidence=(),
        provoked=provoked,
        after_idle=after_idle,
    )


def test_the_word_and_the_sentence_agree() -> None:
    for cause, side, provoked, after_idle in EVERY:
        one = reset(cause, side, provoked, after_idle)
        hurts, harm = remedy_of(situation_of(one)).hurts, harm_of(one)
        # What is lost to a client that had closed: the general sentence begins with the others.
        is_told_first = cause is Cause.DATA_AFTER_CLOSE and side is Side.CLIENT
        hurts_nobody = hurts.startswith(("Nobody", "No reader"))
        assert hurts_nobody == (harm is Harm.NOBODY) or is_told_first, one
        assert hurts.startswith("Unclear") == (harm is Harm.UNCLEAR), one


def test_a_request_is_lost_and_an_alert_is_not() -> None:
    asked = reset(Cause.DATA_AFTER_CLOSE, Side.SERVER, Provoked.DATA)
    answered = reset(Cause.DATA_AFTER_CLOSE, Side.SERVER, Provoked.CLOSE_NOTIFY)
    assert harm_of(asked) is Harm.LOST
    assert harm_of(answered) is Harm.NOBODY


def test_what_its_receiver_did_not_heed_hurts_nobody() -> None:
    one = replace(reset(Cause.MIDDLEBOX, Side.SERVER, None), heeded=False)
    assert harm_of(one) is Harm.NOBODY
    assert remedy_of(situation_of(one)).hurts.startswith("Nobody")


def test_the_worst_comes_first() -> None:
    assert sorted(Harm, key=lambda harm: harm.rank) == list(Harm)
    assert Harm.LOST.rank == 0
