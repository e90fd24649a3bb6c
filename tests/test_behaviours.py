"""What a server does, told once: what becomes one behaviour, how bad it is, and what was tried.

ARCHITECTURE, "Rooms" and "Glossary": behaviour, harm.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.report.builders import clean, make_run, postgres_reset
from tlsprobe.behaviours import behaviours_of, ends_while_asking
from tlsprobe.catalogue import catalogue
from tlsprobe.language import format_groups
from tlsprobe.model.behaviour import Harm, Phase, Tried, Who
from tlsprobe.model.judgement import Level, Provoked, Result, Verdict
from tlsprobe.model.run import BeforeAfter, Cell, Finding, Race, ResetCounts, Run, Spread

ADVICE = "Client: send the goodbye alone."


def resetting(sequence: str, count: int = 20, drew: Provoked = Provoked.CLOSE_NOTIFY) -> Cell:
    cell = postgres_reset()
    facts = replace(
        cell.why[0],
        count=count,
        remedy=(ADVICE,),
        provoked=(drew,),
        tried_by={ADVICE: ("terminate",)},
    )
    finding = next(f for f in cell.findings if f.rule == "INTEROP-RESET-BEFORE-FIN")
    return replace(
        cell,
        sequence=sequence,
        resets=ResetCounts(server=BeforeAfter(before_fin=count)),
        findings=(replace(finding, count=count),),
        why=(facts,),
    )


def breaking(rule: str, sequence: str = "close-notify-fin", tls: str = "1.3") -> Cell:
    finding = Finding(rule, Level.MUST, Result.FAIL, 20, f"what breaks {rule}")
    return replace(clean(sequence, tls), verdict=Verdict.FAIL, findings=(finding,))


# --- how bad it is --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sequence", "count", "harm"),
    [
        ("terminate-close-notify", 20, Harm.BREAKS),
        ("terminate-close-notify", 3, Harm.MAY_BREAK),
        ("idle-expiry-race", 20, Harm.MAY_BREAK),
        ("terminate-with-close-notify", 20, Harm.MAY_BREAK),
        ("close-notify-twice", 20, Harm.NOISE),
        ("close-notify-split", 20, Harm.NONE),
        ("fin-after-hello", 20, Harm.NOISE),
    ],
)
def test_harm_is_what_it_does_times_who_closes_so(sequence: str, count: int, harm: Harm) -> None:
    (found,) = behaviours_of(make_run(resetting(sequence, count)))
    assert found.harm is harm
    assert found.who is catalogue()[sequence].who


@pytest.mark.parametrize(
    ("judged", "count", "harm"),
    [(13, 13, Harm.BREAKS), (13, 3, Harm.MAY_BREAK), (1, 1, Harm.MAY_BREAK)],
)
def test_how_often_it_comes_is_asked_of_what_was_judged(
    judged: int, count: int, harm: Harm
) -> None:
    cell = resetting("terminate-close-notify", count)
    (finding,) = cell.findings
    cell = replace(cell, trials=30, findings=(replace(finding, judged=judged),))
    (found,) = behaviours_of(make_run(cell))
    assert (found.harm, found.count, found.asked, found.trials) == (harm, count, judged, 30)


def test_what_a_box_made_beside_the_servers_own_resets_is_no_behaviour_of_its() -> None:
    cell = resetting("terminate-close-notify")
    made = replace(cell.why[0], cause="middlebox", count=3)
    found = behaviours_of(make_run(replace(cell, why=(*cell.why, made))))
    assert {behaviour.cause for behaviour in found} == {cell.why[0].cause}


def test_somebodys_own_sequence_counts_as_that_of_some() -> None:
    (found,) = behaviours_of(make_run(resetting("request; close_notify; drain 3s")))
    assert (found.harm, found.who, found.phase) == (Harm.MAY_BREAK, Who.SOME, None)


def test_a_broken_must_that_hurts_nobody_ranks_below_a_reset() -> None:
    run = make_run(breaking("TLS13-NOTIFY"), resetting("terminate-close-notify"))
    assert [(one.kind, one.harm) for one in behaviours_of(run)] == [
        ("reset-before-fin", Harm.BREAKS),
        ("no-close-notify", Harm.NOISE),
    ]


def over(protocol: str, *cells: Cell) -> Run:
    run = make_run(*cells)
    return replace(run, target=replace(run.target, profile="https", protocol=protocol))


@pytest.mark.parametrize(
    ("protocol", "sequence", "harm", "who"),
    [
        ("http1", "terminate-close-notify", Harm.MAY_BREAK, Who.SOME),
        ("http1", "half-close", Harm.MAY_BREAK, Who.SOME),
        ("http1", "terminate-fin", Harm.NOISE, Who.BROKEN),
        ("http2", "half-close", Harm.NOISE, Who.BROKEN),
        ("postgres", "terminate-fin", Harm.MAY_BREAK, Who.SOME),
    ],
)
def test_what_is_lost_hurts_those_who_close_so_in_this_protocol(
    protocol: str, sequence: str, harm: Harm, who: Who
) -> None:
    (found,) = behaviours_of(over(protocol, breaking("INTEROP-DATA-LOST", sequence)))
    assert (found.harm, found.who) == (harm, who)


@pytest.mark.parametrize(("window_us", "harm"), [(90.0, Harm.NOISE), (5000.0, Harm.MAY_BREAK)])
def test_a_race_that_no_round_trip_can_lose_is_noise(window_us: float, harm: Harm) -> None:
    cell = resetting("idle-expiry-race")
    window = Spread(3, window_us, window_us, window_us, window_us)
    race = Race(20, 20, 1.0, 0.84, 1.0, "all of them", window)
    (found,) = behaviours_of(make_run(replace(cell, race=race)))
    assert found.harm is harm


def test_what_is_lost_in_a_race_is_never_noise() -> None:
    cell = breaking("INTEROP-DATA-LOST", "idle-expiry-meet")
    race = Race(20, 20, 1.0, 0.84, 1.0, "all of them", Spread(3, 90.0, 90.0, 90.0, 90.0))
    (found,) = behaviours_of(make_run(replace(cell, race=race)))
    assert found.harm is Harm.MAY_BREAK


def test_what_would_break_things_comes_before_what_is_seen_more_often() -> None:
    lost = breaking("INTEROP-DATA-LOST", "half-close")
    silent = [breaking("TLS13-NOTIFY", name) for name in ("fin-only", "close-notify-fin")]
    found = behaviours_of(over("http2", *silent, lost))
    assert [(one.kind, one.harm) for one in found] == [
        ("data-lost", Harm.NOISE),
        ("no-close-notify", Harm.NOISE),
    ]


# --- what becomes one -----------------------------------------------------------------------------


def test_cells_that_show_the_same_are_one() -> None:
    names = ("terminate-close-notify", "terminate-close-notify-fin")
    (found,) = behaviours_of(make_run(*map(resetting, names)))
    assert [seen.sequence for seen in found.seen] == list(names)
    assert (found.count, found.trials, found.phase) == (40, 40, Phase.GOODBYE)


def test_phases_that_hurt_are_told_apart() -> None:
    run = make_run(resetting("terminate-close-notify"), resetting("idle-expiry-reply"))
    assert {one.phase for one in behaviours_of(run)} == {Phase.GOODBYE, Phase.IDLE}


def test_what_drew_it_is_told_apart() -> None:
    behind = resetting("data-after-close-notify", drew=Provoked.BEHIND_END)
    run = make_run(resetting("close-notify-twice"), behind)
    assert len(behaviours_of(run)) == 2


def test_no_two_that_are_told_apart_are_told_in_the_same_words() -> None:
    idle, behind = "idle-expiry-reply", "idle-partial-request-reply"
    run = make_run(resetting(idle), resetting(behind, drew=Provoked.DATA))
    told = [(one.sentence, one.phase, one.cause) for one in behaviours_of(run)]
    assert len(set(told)) == len(told) == 2


def test_both_versions_of_a_rule_are_one() -> None:
    cells = (breaking("TLS12-NOTIFY", tls="1.2"), breaking("TLS13-NOTIFY"))
    (found,) = behaviours_of(make_run(*cells))
    assert found.rules == ("TLS12-NOTIFY", "TLS13-NOTIFY")


def test_what_follows_from_a_reset_is_not_told_beside_it() -> None:
    cell = resetting("idle-expiry")
    silent = Finding("HTTP-IDLE-GRACEFUL", Level.SHOULD, Result.WARN, 20, "ended by a reset")
    run = make_run(replace(cell, findings=(*cell.findings, silent)))
    assert [one.kind for one in behaviours_of(run)] == ["reset-before-fin"]


def test_controls_are_nobodys_behaviour() -> None:
    assert behaviours_of(make_run(replace(resetting("terminate"), role="control"))) == ()


def test_an_orderly_server_has_none() -> None:
    assert behaviours_of(make_run(clean())) == ()


# --- what to do -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tried", "result"),
    [
        (clean("terminate"), Tried.HELPS),
        (resetting("terminate"), Tried.HELPS_NOT),
        (resetting("terminate", 2), Tried.IN_PART),
        (replace(clean("terminate"), signatures={}, trials=0), Tried.NOT_TRIED),
    ],
)
def test_a_remedy_says_what_came_of_it_here(tried: Cell, result: Tried) -> None:
    found = behaviours_of(make_run(resetting("terminate-close-notify"), tried))[0]
    assert [(one.text, one.tried) for one in found.to_do] == [(ADVICE, result)]


def test_what_the_lab_tried_on_the_same_server_is_quoted() -> None:
    cell = resetting("server-close-reply")
    finding = replace(cell.findings[0], rule="INTEROP-RESET-AFTER-FIN")
    after = replace(cell, findings=(finding,), resets=ResetCounts(server=BeforeAfter(after_fin=20)))
    run = make_run(after)
    (found,) = behaviours_of(replace(run, target=replace(run.target, profile="nginx")))
    (quoted,) = (one for one in found.to_do if one.lab)
    assert (quoted.text, quoted.tried) == ("Server: lingering_close always;", Tried.HELPS)
    assert quoted.lab.startswith("nginx 1.22.1; server-close-reply in TLS")
    (elsewhere,) = behaviours_of(replace(run, target=replace(run.target, profile="raw")))
    assert not any(one.lab for one in elsewhere.to_do)


# --- the catalogue --------------------------------------------------------------------------------


def test_every_sequence_says_who_closes_so() -> None:
    assert all(entry.example for entry in catalogue().values())
    assert {entry.who for entry in catalogue().values()} == set(Who)


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("request-close-notify-fin", True),
        ("fin-with-request", True),
        ("terminate-fin", True),
        ("half-close", True),
        ("limit-stall", False),
        ("graceful-streams", False),
        ("stop-request", False),
        ("reload-request", False),
        ("terminate-close-notify-50ms", False),
    ],
)
def test_who_ends_behind_a_request_may_be_taken_for_gone(name: str, *, ends: bool) -> None:
    steps = format_groups(catalogue()[name].sequence.groups)
    assert ends_while_asking(steps) is ends
