"""What the facts of a run tell about each other, and what each judgement makes of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.campaign.made_runs import ALONE, WITHOUT, between, judged, planned, trial
from tests.judge.playbook import C, S, crossing, play, silence, step
from tlsprobe.campaign.controls import vouchers
from tlsprobe.campaign.judging import CONTROL, RunInJudgement
from tlsprobe.campaign.learned import FIN_VOUCHER, VOUCHER, alone, plan_of
from tlsprobe.model.facts import Fact, PlanFact, ReachedFact, TrialFact
from tlsprobe.model.judgement import Result
from tlsprobe.model.load import Load
from tlsprobe.model.run import Trial
from tlsprobe.model.trace import Trace

SILENT = "TLS13-NOTIFY"
ALERTED = S.notify() + S.fin()

HEARD_OUT = play(C.request() + C.fin(), S.response(), S.fin())
CUT_OFF = play(C.request() + C.fin(), S.fin())
CROSSED = play(C.request(), crossing(C.fin(), S.response()), S.fin())
"""Requests with our FIN: answered behind it, not answered, and answered before it had come."""


def test_a_server_that_closes_without_an_alert_unasked_does_so_at_our_fin_too() -> None:
    """No proxy knows of a goodbye inside TLS. Of a FIN that answers ours it may be the maker."""
    answered = [trial("fin-only", n, play(C.fin(), S.fin())) for n in range(3)]
    unasked = [trial(WITHOUT, n, play(C.goodbye(), S.fin())) for n in range(3)]
    bare = [trial(ALONE, n, play(C.notify(), S.fin())) for n in range(3)]
    polite = [trial(ALONE, n, play(C.notify(), ALERTED)) for n in range(3)]
    plan = PlanFact(tuple(map(planned, ("fin-only", WITHOUT, ALONE, FIN_VOUCHER))))

    def heard(trace: Trace) -> list[TrialFact]:
        return [trial(FIN_VOUCHER, n, trace) for n in range(3)]

    def said(*facts: Fact) -> Result:
        cell = judged(plan, *facts)["fin-only"]
        return next(f.result for f in cell.findings if f.rule == SILENT)

    assert said(*answered) is Result.INFO
    assert said(*answered, *unasked) is Result.FAIL
    assert said(*unasked, *answered) is Result.FAIL
    # Who answers alerts without one may have one for a FIN, at which a proxy before it closes.
    assert said(*answered, *bare) is said(*answered, *unasked, *polite) is Result.INFO
    assert said(*answered, *heard(HEARD_OUT)) is Result.FAIL
    assert said(*answered, *bare, *heard(CUT_OFF)) is Result.INFO
    assert said(*answered, *bare, *heard(CROSSED)) is Result.INFO
    assert said(*(between(fact, "127.0.0.1", "127.0.0.1") for fact in answered)) is Result.FAIL
    own = (between(fact, "192.0.2.2", "192.0.2.2") for fact in answered)
    assert said(*own) is Result.FAIL  # this machine's own address
    # A program that is known to be in between may drop the alert of each.
    passed_on = ReachedFact("192.0.2.2:443", {}, passed_on=True)
    assert said(passed_on, *answered, *unasked) is Result.INFO
    assert said(replace(passed_on, passed_on=False), *answered, *unasked) is Result.FAIL


def test_a_silence_that_a_proxy_may_have_ended_is_no_servers_that_has_alerts() -> None:
    """nginx answers an alert without one, and ends idle connections with one, if it comes to it."""
    idle = [trial("idle-expiry", n, play(step("await"), silence(2), S.fin())) for n in range(3)]
    bare = [trial(ALONE, n, play(C.notify(), S.fin())) for n in range(3)]
    led = [trial(WITHOUT, n, play(C.goodbye(), S.fin())) for n in range(3)]
    worded = [trial("fin-only", n, play(C.fin(), ALERTED)) for n in range(3)]
    plan = PlanFact(tuple(map(planned, ("idle-expiry", ALONE, WITHOUT, "fin-only"))))

    def said(*facts: Fact) -> Result:
        cell = judged(plan, *facts)["idle-expiry"]
        return next(f.result for f in cell.findings if f.rule == SILENT)

    assert said(*idle) is said(*idle, *bare) is Result.INFO
    assert said(*idle, *led, *worded) is Result.INFO
    assert said(*idle, *led) is Result.FAIL  # it has no alert for anybody, nor when it leads


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_ends_that_may_be_a_proxys_want_a_close_that_no_proxy_answers(tls: str) -> None:
    """Whoever asks for FINs alone learns whose the end is all the same."""
    asked = plan_of(planned("fin-only", tls=tls))
    answered = [trial("fin-only", n, play(C.fin(), S.fin()), tls) for n in range(3)]

    def wants(*facts: Fact) -> tuple[str, ...]:
        run = RunInJudgement()
        for fact in (PlanFact((planned("fin-only", tls=tls),)), *facts):
            run.learn(fact)
        return run.vouchers_wanted(asked)

    controls = list(vouchers(asked))
    assert [one.sequence.name for one in controls] == [VOUCHER, FIN_VOUCHER]
    assert not any(list(vouchers(control)) for control in controls)  # which ask for no other
    assert wants(*answered) == (FIN_VOUCHER,)
    assert not wants(*(between(fact, "127.0.0.1", "127.0.0.1") for fact in answered))
    assert not wants(*(trial("fin-only", n, play(C.fin(), ALERTED), tls) for n in range(3)))
    plan = PlanFact((planned(FIN_VOUCHER, CONTROL, tls),))
    heard = [trial(FIN_VOUCHER, n, HEARD_OUT, tls) for n in range(3)]
    assert not wants(*answered, plan, *heard)
    assert wants(*answered, plan, *(replace(fact, trace=CUT_OFF) for fact in heard))


@pytest.mark.parametrize(
    ("client", "server", "near"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("::1", "::1", True),
        ("192.0.2.7", "192.0.2.7", True),
        ("fe80::7%2", "fe80::7", True),
        ("192.0.2.7", "192.0.2.8", False),
        ("fe80::7", "fe80::8%2", False),
    ],
)
def test_a_connection_tells_by_itself_that_it_never_left_the_machine(
    client: str, server: str, *, near: bool
) -> None:
    """A fuzz run has no more: here no proxy ends a connection for its server."""
    told = between(trial("fin-only", 0, play(C.fin(), S.fin())), client, server)
    assert alone(told).near is near


def named(number: int, name: str, sequence: str = "terminate", protocol: str = "http1") -> Fact:
    trace = play(C.goodbye(), S.notify() + S.fin())
    drive = replace(trace.drive, server_says=name)
    trace = replace(trace, drive=drive, protocol=protocol)
    return TrialFact(Trial(sequence, "1.3", number), trace, Load(1, 1))


@pytest.mark.parametrize(
    ("facts", "names"),
    [
        ([named(0, "nginx"), named(1, "h2o"), named(2, "nginx")], ("nginx", "h2o")),
        ([named(0, "nginx"), named(1, "nginx"), named(2, "")], ()),
        # a proxy's own answer, and what it passes on
        ([named(0, "nginx"), named(0, "gunicorn", "data-after-close-notify")], ()),
        # a greeting with the time of the day
        ([named(0, "220 5:32", protocol="chat"), named(1, "220 5:33", protocol="chat")], ()),
    ],
)
def test_another_server_in_the_midst_of_a_run_is_known_by_its_name(
    facts: list[Fact], names: tuple[str, ...]
) -> None:
    judging = RunInJudgement()
    judging.learn(PlanFact((planned("terminate"), planned("data-after-close-notify"))))
    for fact in facts:
        judging.learn(fact)
    assert judging.names == names
