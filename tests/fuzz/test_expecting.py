"""What a baseline has, in the words of another run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tlsprobe.fuzz.expecting import is_known, not_found
from tlsprobe.model.fuzz import FuzzFailure, Unrepeated

KNOWN = FuzzFailure(
    property="notify-before-fin",
    rule="TLS13-NOTIFY",
    steps="request; fin; drain",
    tls="1.3",
    signature="F f",
    confirmed="5/5",
    file="",
    cluster="",
    text="",
    versions=("1.3", "1.2"),
)


@pytest.mark.parametrize(
    "same",
    [
        replace(KNOWN, rule="TLS12-NOTIFY", tls="1.2", versions=("1.2",)),
        replace(KNOWN, steps="request; fin; sleep 0.1s; drain", confirmed="4/5"),
        replace(KNOWN, steps='request; send "x"; fin; drain'),
    ],
)
def test_another_seed_finds_the_same_another_way(same: FuzzFailure) -> None:
    assert is_known(same, [KNOWN])
    assert not list(not_found([same], [KNOWN]))


@pytest.mark.parametrize(
    "other",
    [
        replace(KNOWN, property="ends", rule="INTEROP-LEAK"),
        replace(KNOWN, kind_of_reset="active"),
        replace(KNOWN, steps="terminate; drain"),
        replace(KNOWN, target="elsewhere:443"),
        replace(KNOWN, beside="abort; drain", beside_tls="1.3"),
    ],
)
def test_another_fault_is_new_and_the_known_one_did_not_show(other: FuzzFailure) -> None:
    assert not is_known(other, [KNOWN])
    assert len(list(not_found([other], [KNOWN]))) == 1


def test_what_showed_and_was_not_confirmed_did_show() -> None:
    what = "notify-before-fin", "TLS12-NOTIFY", KNOWN.steps, "1.2", "F f", "no alert", 4, 0
    assert not list(not_found([], [KNOWN], [Unrepeated(*what)]))
    assert len(list(not_found([], [KNOWN], [Unrepeated(*what, "elsewhere:443")]))) == 1


def test_what_takes_less_than_before_is_new_and_shows_what_was_known() -> None:
    worse = replace(KNOWN, steps="fin; drain")
    assert not is_known(worse, [KNOWN])
    assert not list(not_found([worse], [KNOWN]))


def test_what_shows_in_more_versions_than_before_is_new() -> None:
    known = replace(KNOWN, versions=("1.3",))
    assert not is_known(KNOWN, [known])


def test_what_showed_in_a_crowd_alone_does_not_excuse_one_by_itself() -> None:
    assert not is_known(KNOWN, [replace(KNOWN, together=16)])


@pytest.mark.parametrize(("mine", "known"), [("abort; drain", True), ("fin; drain", False)])
def test_a_failure_beside_another_close_is_known_with_that_close(mine: str, *, known: bool) -> None:
    both = replace(KNOWN, beside="abort; drain", beside_tls="1.3")
    assert is_known(replace(both, beside=mine), [both]) is known
