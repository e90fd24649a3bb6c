"""The named sequences: their table, the choice for a protocol, and each one's control."""

from __future__ import annotations

import re
import tomllib
from importlib.resources import files
from itertools import groupby

import pytest

from tlsprobe.catalogue import (
    OPT_IN,
    alert_alone,
    alert_only,
    catalogue,
    control_of,
    default_sequences,
    find_sequence,
    find_sequences,
    lacks,
)
from tlsprobe.errors import UsageError
from tlsprobe.judge.rules import RULES
from tlsprobe.language import format_groups, parse
from tlsprobe.model.verbs import WRITES, Form, Verb


def test_the_table_is_complete_and_in_order() -> None:
    text = files("tlsprobe.catalogue").joinpath("sequences.toml").read_text(encoding="utf-8")
    headings = re.findall(r"^\[(.+)\]$", text, re.MULTILINE)
    assert list(catalogue()) == headings  # TOML itself refuses a name that is there twice
    for name, table in tomllib.loads(text).items():
        assert set(table) == {"group", "steps", "asks", "why", "who", "example", "decides"}, name


@pytest.mark.parametrize("name", list(catalogue()))
def test_an_entry(name: str) -> None:
    entry = catalogue()[name]
    assert entry.sequence.name == name
    assert parse(format_groups(entry.sequence.groups)).groups == entry.sequence.groups
    assert re.fullmatch(r"[a-z]+(-[a-z0-9]+)*", name)
    assert entry.asks.endswith(("?", "."))
    assert entry.why.endswith((".", "?"))
    assert set(entry.decides) <= set(RULES)
    assert len(set(entry.decides)) == len(entry.decides)


def test_groups_stand_together() -> None:
    groups = [entry.group for entry in catalogue().values()]
    assert [group for group, _ in groupby(groups)] == list(dict.fromkeys(groups))


def test_no_two_entries_do_the_same() -> None:
    assert len({entry.sequence.groups for entry in catalogue().values()}) == len(catalogue())


def test_the_cases_that_the_project_grew_out_of_are_there() -> None:
    """psql, a client that leaves, and pools that answer an idle close."""
    steps = {name: format_groups(entry.sequence.groups) for name, entry in catalogue().items()}
    assert steps["terminate-close-notify"] == "request; terminate; close_notify; drain"
    assert "terminate; close_notify; fin" in steps["terminate-close-notify-fin"]
    assert "await close_notify idle; close_notify" in steps["idle-expiry-reply"]


# --- what fits a protocol -----------------------------------------------------------------------


@pytest.mark.parametrize("has_goodbye", [False, True])
@pytest.mark.parametrize("offered", [frozenset(), frozenset({Form.LARGE}), frozenset(Form)])
def test_default_sequences_are_all_that_apply(has_goodbye: bool, offered: frozenset[Form]) -> None:
    chosen = default_sequences(offered, has_goodbye=has_goodbye)
    assert [s.name for s in chosen] == [
        name for name in catalogue() if find_sequence(name) in chosen
    ]
    assert any(s.uses(Verb.TERMINATE) for s in chosen) == has_goodbye
    for form in (Form.LARGE, Form.UPLOAD):
        assert any(step.form is form for s in chosen for step in s.steps) == (form in offered)
    asked = [entry for entry in catalogue().values() if entry.group not in OPT_IN]
    left_out = [entry.sequence for entry in asked if entry.sequence not in chosen]
    assert all(lacks(s, offered, has_goodbye=has_goodbye) for s in left_out)


def test_some_chapters_are_measured_only_for_who_names_them() -> None:
    control = find_sequences("control")
    assert len(control) >= 16
    asked = {rule for e in catalogue().values() if e.group not in OPT_IN for rule in e.decides}
    decided = {rule for e in catalogue().values() for rule in e.decides}
    assert {name for name, rule in RULES.items() if rule.opt_in} == decided - asked
    assert not set(control) & set(default_sequences(frozenset(Form), has_goodbye=True))


def test_a_chapter_is_asked_for_by_its_name() -> None:
    assert {s.name for s in find_sequences("race")} == {"idle-expiry-race", "idle-expiry-meet"}
    assert [s.name for s in find_sequences("terminate")] == ["terminate"]
    with pytest.raises(UsageError):
        find_sequences("no-such-chapter")


# --- controls -----------------------------------------------------------------------------------


CONTROLS = {
    "close-notify-fin": "fin-only",
    "close-notify-fin-coalesced": "fin-only",
    "close-notify-await": "fin-only",
    "close-notify-only": "fin-only",
    "half-close": "fin-only",
    "fin-only": None,  # it is the control
    "abort": None,
    "terminate": None,  # it is the control
    "terminate-close-notify": "terminate",
    "terminate-close-notify-fin": "terminate",
    "server-close-reply": "terminate",
    "close-notify-twice": "close-notify-only",
    "data-after-close-notify": "close-notify-only",
    "request-after-close-notify": "close-notify-only",
    "idle-expiry": None,  # it is the control
    "idle-partial-request": "idle-expiry",
    "idle-partial-request-request": "idle-expiry",
    "idle-expiry-reply": "idle-expiry",
}


@pytest.mark.parametrize(("name", "control"), CONTROLS.items())
def test_well_known_controls(name: str, control: str | None) -> None:
    found = control_of(catalogue()[name].sequence)
    assert (found and found.name) == control


@pytest.mark.parametrize("name", list(catalogue()))
def test_a_control_leaves_nothing_of_ours_unread(name: str) -> None:
    """It ends like the sequence does, in the word of the protocol alone, and needs none itself.

    Where more follows an alert, the question is that more: the alert alone is the control then.
    """
    sequence = catalogue()[name].sequence
    control = control_of(sequence)
    if control is None:
        return
    if control.uses(Verb.CLOSE_NOTIFY):
        writes = [step.verb for step in sequence.steps if step.verb in WRITES]
        assert writes[writes.index(Verb.CLOSE_NOTIFY) + 1 :]
        assert format_groups(control.groups).endswith("; close_notify; drain")
        return
    assert control.is_idle == sequence.is_idle
    assert control.uses(Verb.TERMINATE) == sequence.uses(Verb.TERMINATE)
    assert control_of(control) is None
    assert control.name in {f"{name} (control)", *catalogue()}


@pytest.mark.parametrize(
    ("steps", "alone"),
    [
        ('close_notify; send "x"; drain', "close_notify; drain"),
        ("request; close_notify; send; fin; drain", "request; close_notify; fin; drain"),
        ("close_notify + send; close_notify; drain", "close_notify; close_notify; drain"),
        ("send; close_notify; terminate + fin; drain", "send; close_notify; fin; drain"),
    ],
)
def test_what_the_alert_alone_draws_is_tried_without_what_comes_behind_it(
    steps: str, alone: str
) -> None:
    control = alert_alone(parse(steps))
    assert control is not None
    assert format_groups(control.groups) == alone


@pytest.mark.parametrize("steps", ["send; close_notify; fin; drain", "terminate; drain"])
def test_behind_no_alert_there_is_nothing_to_leave_out(steps: str) -> None:
    assert alert_alone(parse(steps)) is None


def test_the_control_of_a_sequence_of_ones_own() -> None:
    known = control_of(parse("request; terminate; sleep 3ms; close_notify; drain", "mine"))
    assert known is catalogue()["terminate"].sequence
    unknown = control_of(parse("close_notify; fin; drain", "mine"))
    assert unknown is not None
    assert unknown.name in {"mine (control)", "fin-before-request"}
    assert format_groups(unknown.groups) == "fin; drain"


@pytest.mark.parametrize(
    "steps",
    ["request; drain", "request; fin; drain", "terminate; drain", "abort", "connect; close_notify"],
)
def test_without_anything_to_settle_there_is_no_control(steps: str) -> None:
    assert control_of(parse(steps)) is None


@pytest.mark.parametrize(
    ("name", "control"),
    [
        ("terminate-close-notify", "close-notify-only"),
        ("close-notify-fin", "close-notify-only"),
        ("close-notify-only", None),
        ("terminate", None),
        ("idle-expiry", None),
        ("close-notify-after-hello", None),
    ],
)
def test_the_alert_of_a_close_and_nothing_else(name: str, control: str | None) -> None:
    found = alert_only(catalogue()[name].sequence)
    assert (found.name if found else None) == control
