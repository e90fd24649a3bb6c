"""A server that dies in the midst of a run: it is noticed, looked for, and given up in the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.campaign.test_again import IN_TIME, planned
from tests.campaign.test_idle_silent import blamed, run
from tests.judge.playbook import C, S, play, silence, step
from tests.small_servers import SmallServer
from tlsprobe.campaign import presence
from tlsprobe.campaign.judging import RunInJudgement
from tlsprobe.campaign.presence import (
    BANS_S,
    GRACE_S,
    LONGEST_S,
    MOST_SHUT,
    SLOWED,
    STALLS_S,
    Presence,
)
from tlsprobe.campaign.shutting import IN_A_ROW, is_declined
from tlsprobe.model.facts import Fact, GoneFact, PathFact, PlanFact, TrialFact
from tlsprobe.model.judgement import Doubt, Verdict
from tlsprobe.model.load import Load
from tlsprobe.model.run import CutShort, Left, Trial
from tlsprobe.model.trace import Drive, DriverEvent, EventKind, Stage, Trace

TAKEN = play(S.notify() + S.fin()).drive
REFUSED = replace(TAKEN, stage=Stage.CONNECT, failure="connection refused", refused=True, events=())
ASKED = DriverEvent(0, EventKind.CONNECT)
SILENT = replace(REFUSED, failure="no answer", refused=False, events=(ASKED,))
NOT_ASKED = replace(SILENT, failure="the shaper in the path has ended", events=())
HANDSHAKE = replace(REFUSED, stage=Stage.HANDSHAKE, refused=False)
PATIENCE_S = 5.0
HUNG = replace(
    TAKEN,
    stage=Stage.HANDSHAKE,
    failure="the server did not finish the handshake in time",
    mark=None,
    events=tuple(event for event in TAKEN.events if event.kind is EventKind.CONNECTED),
)


class Server:
    """What the next connections meet, and what the campaign was told."""

    def __init__(self, knocks: Iterable[Drive], open_for_s: float = 0.0) -> None:
        self.knocks: Iterator[Drive] = iter(knocks)
        self.open_for_s = open_for_s
        self.told: list[str] = []
        self.left_at: float | None = None
        self.presence = Presence(
            self.knock,
            self.count_open,
            self.leave,
            self.told.append,
            patience_s=PATIENCE_S,
        )

    async def knock(self) -> Drive:
        found = next(self.knocks, REFUSED)
        await trio.sleep(PATIENCE_S if found is HUNG else 0)
        return found

    def count_open(self) -> int:
        return int(trio.current_time() < self.begun + self.open_for_s)

    def leave(self) -> None:
        self.left_at = trio.current_time() - self.begun

    def sees(self, *driven: Drive) -> Server:
        async def drive() -> None:
            self.begun = trio.current_time()
            for one in driven:
                await self.presence.saw(one, PATIENCE_S if one is HUNG else 0.0)

        trio.run(drive, clock=trio.testing.MockClock(autojump_threshold=0))
        return self


@pytest.mark.parametrize(
    ("away", "how"), [(REFUSED, "refused connections"), (SILENT, "answered no SYN")]
)
def test_a_server_that_takes_no_more_connections_is_given_up(away: Drive, how: str) -> None:
    server = Server([away] * 100).sees(TAKEN, *[away] * IN_A_ROW)
    assert server.left_at == pytest.approx(GRACE_S, abs=1.5)
    assert server.presence.gone is not None
    assert how in server.presence.gone
    connected = TAKEN.did(EventKind.CONNECTED)
    assert connected is not None
    assert server.presence.seen_ns == connected.time_ns


@pytest.mark.parametrize(
    "driven",
    [
        [REFUSED] * (IN_A_ROW - 1),
        [REFUSED, REFUSED, TAKEN] * IN_A_ROW,
        [HANDSHAKE] * 2 * IN_A_ROW,
        [NOT_ASKED] * 2 * IN_A_ROW,
    ],
)
def test_who_takes_a_connection_now_and_then_is_there(driven: list[Drive]) -> None:
    server = Server([]).sees(*driven)
    assert (server.presence.gone, server.told, server.left_at) == (None, [], None)


def test_a_server_that_is_started_again_is_gone_on_with() -> None:
    server = Server([REFUSED, REFUSED, TAKEN]).sees(*[REFUSED] * IN_A_ROW)
    assert server.presence.gone is None
    (note,) = server.told
    assert "took no connections for 3 s" in note


def test_a_full_server_has_longer_while_connections_of_ours_are_open() -> None:
    served = Server([SILENT] * 50 + [TAKEN], open_for_s=LONGEST_S).sees(*[SILENT] * IN_A_ROW)
    assert served.presence.gone is None
    for_ever = Server([SILENT] * 200, open_for_s=1000).sees(*[SILENT] * IN_A_ROW)
    assert for_ever.left_at == pytest.approx(LONGEST_S, abs=1.5)


def test_one_that_takes_connections_and_serves_none_is_given_up() -> None:
    server = Server([HUNG] * 100).sees(TAKEN, *[HUNG] * IN_A_ROW)
    assert server.left_at == pytest.approx(STALLS_S, abs=PATIENCE_S + 1.5)
    assert server.presence.gone is not None
    assert "served none that it took" in server.presence.gone
    connected = TAKEN.did(EventKind.CONNECTED)
    assert connected is not None
    assert server.presence.seen_ns == connected.time_ns


def test_one_that_may_be_full_of_ours_is_not_given_up_while_they_are_open() -> None:
    """However long they wait idle."""
    full = 10 * STALLS_S
    server = Server([HUNG] * 200, open_for_s=full).sees(*[HUNG] * IN_A_ROW)
    assert server.left_at == pytest.approx(full + STALLS_S, abs=2 * PATIENCE_S)
    back = Server([HUNG] * 20 + [TAKEN], open_for_s=full).sees(*[HUNG] * IN_A_ROW)
    assert back.presence.gone is None
    (note,) = back.told
    assert "served no connections" in note


def test_one_that_stalls_for_less_is_gone_on_with() -> None:
    knocks = int(STALLS_S / (PATIENCE_S + 1)) - 1
    server = Server([HUNG] * knocks + [TAKEN]).sees(*[HUNG] * IN_A_ROW)
    assert (server.presence.gone, len(server.told)) == (None, 1)


def test_what_serves_whoever_knocks_is_asked_ever_more_seldom_and_not_spoken_of() -> None:
    knocks = iter([TAKEN] * 3)
    server = Server(knocks).sees(*[HUNG] * (IN_A_ROW * (1 + 2 + 4)))
    assert (server.presence.gone, server.told, next(knocks, None)) == (None, [], None)


def test_what_did_not_take_our_whole_patience_was_not_left_waiting() -> None:
    """A sequence may fail for a reason of its own, and at once: no ticket, no early data."""
    early = replace(HUNG, failure="no ticket allows early data")
    server = Server([]).sees(*[early] * 2 * IN_A_ROW)
    assert (server.presence.gone, server.told) == (None, [])


def test_nobody_connects_while_it_is_looked_for() -> None:
    server = Server([REFUSED, TAKEN])
    order: list[str] = []

    async def drive() -> None:
        server.begun = trio.current_time()

        async def next_one() -> None:
            await trio.sleep(0.5)
            await server.presence.there()
            order.append("connects")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(next_one)
            for _ in range(IN_A_ROW):
                await server.presence.saw(REFUSED)
            order.append("back")

    trio.run(drive, clock=trio.testing.MockClock(autojump_threshold=0))
    assert order == ["back", "connects"]


# --- what is said of its trials -------------------------------------------------------------------

WAITED = play(step("await"), silence(12), S.fin())
CLEAN = play(C.notify(), step("close_notify"), S.notify() + S.fin())
AWAY = play(
    silence(20), opened=False, failure="connection refused", stage=Stage.CONNECT, refused=True
)


def judged(*traces: Trace, since_ns: int) -> RunInJudgement:
    facts: list[Fact] = [PlanFact((planned("close-notify-only"), planned("terminate")))]
    facts += [
        TrialFact(Trial("close-notify-only", "1.3", index), trace, Load(1, 1))
        for index, trace in enumerate(traces)
    ]
    facts.append(GoneFact(since_ns, "the server refuses connections"))
    judging = RunInJudgement()
    for fact in facts:
        judging.learn(fact)
    judging.catch_up(lambda: facts)
    return judging


def test_what_its_death_may_have_ended_breaks_no_rule() -> None:
    """All connections that waited idle ended at once, and without a close_notify."""
    died = WAITED.segments[-1].time_ns
    answer = judged(WAITED, AWAY, since_ns=died - 1_000_000).answer()
    cell = answer.cells[0]
    assert [t.judgement.doubt for t in answer.trials] == [Doubt.SERVER_GONE] * 2
    assert (cell.verdict, cell.findings) == (Verdict.INCONCLUSIVE, ())
    assert cell.reason is not None
    assert "may have ended it" in cell.reason
    alive = judged(WAITED, since_ns=died + 10**9).answer()
    assert alive.trials[0].judgement.doubt is None
    assert alive.cells[0].findings


def test_what_ended_before_stands() -> None:
    answer = judged(CLEAN, since_ns=CLEAN.drive.events[-1].time_ns + 1).answer()
    assert answer.cells[0].verdict is Verdict.PASS
    assert answer.cut_short == CutShort(Left.SERVER_GONE, "the server refuses connections")


def test_a_run_whose_trials_were_all_driven_later_is_not_cut_short() -> None:
    judging = judged(*[CLEAN] * 3, since_ns=CLEAN.drive.events[-1].time_ns + 1)
    for index in range(3):
        judging.judge(TrialFact(Trial("terminate", "1.3", index), CLEAN, Load(1, 1)))
    assert judging.answer().cut_short is None


def test_what_was_not_driven_says_why() -> None:
    answer = judged(CLEAN, since_ns=0).answer()
    assert answer.cells[1].reason == "the server refuses connections"


# --- a server that bans us ------------------------------------------------------------------------

SHUT = replace(
    HUNG, failure="the server reset the connection during the handshake", records=(), refused=False
)
SHUT = replace(SHUT, events=(*HUNG.events, DriverEvent(0, EventKind.RESET, "")))


def at(drive: Drive, time_ns: int) -> Drive:
    return replace(drive, events=tuple(one._replace(time_ns=time_ns) for one in drive.events))


def moved(trace: Trace, seconds: int) -> Trace:
    """The same, with all that our driver saw at one time."""
    return replace(trace, drive=at(trace.drive, seconds * 10**9))


def shunned(*drives: Drive, knocks: Iterable[Drive] = ()) -> int | None:
    """Since when a server shuns us that these connections met."""
    return Server(knocks).sees(*drives).presence.shuns_ns


def test_a_server_that_ends_each_connection_without_a_word_shuns_us() -> None:
    """Mumble bans whoever opens ten in two minutes; each close that followed was blamed for it."""
    shut = [at(SHUT, 1_000 + n) for n in range(MOST_SHUT)]
    assert shunned(*reversed(shut)) == 1_000
    assert shunned(*shut[: IN_A_ROW - 1]) is None
    assert shunned(*shut, knocks=[TAKEN] * MOST_SHUT) is None
    assert shunned(*shut[:3], at(TAKEN, 2_000), *shut[:3]) is None
    assert shunned(*shut, at(TAKEN, 500)) == 1_000  # it was open since before
    spoke = replace(SHUT, records=TAKEN.records)
    assert shunned(*[at(spoke, n) for n in range(MOST_SHUT)]) is None
    assert shunned(*[at(HUNG, n) for n in range(MOST_SHUT)]) is None


def test_a_server_that_shuts_us_out_is_left_alone_until_it_serves_again() -> None:
    """Each connection that a ban meets may make it longer."""
    slowed: list[float] = []
    server = Server([at(SHUT, 1)] * 3 + [TAKEN])
    server.presence = Presence(
        *(server.knock, server.count_open, server.leave, server.told.append),
        slow=lambda: slowed.append(trio.current_time() - server.begun),
    )
    server.sees(*[at(SHUT, n) for n in range(IN_A_ROW)])
    assert slowed == [pytest.approx(1 + 2 + 4 + 8)]
    assert server.told == [SLOWED]
    assert (server.left_at, server.presence.shuns_ns) == (None, None)


def test_a_connection_that_was_reset_before_we_had_a_look_was_taken_and_shut_out() -> None:
    """HAProxy's `tcp-request connection reject`: the path was said to be dead in five cells."""
    events = DriverEvent(7, EventKind.CONNECT), DriverEvent(9, EventKind.RESET)
    reset = replace(SHUT, stage=Stage.CONNECT, failure="connection reset by peer", events=events)
    server = Server([reset, TAKEN]).sees(*[reset] * IN_A_ROW)
    assert server.told == [SLOWED]
    refused = replace(reset, events=events[:1], refused=True)
    assert shunned(*[refused] * IN_A_ROW) is None


def test_who_says_that_there_are_too_many_is_asked_more_seldom() -> None:
    """Postfix says 421 to whoever opens too many: the path was said to be dead in 13 cells."""
    said = replace(TAKEN, stage=Stage.GREETING, failure="421 too many connections", mark=None)
    said = replace(said, records=IN_TIME.drive.records)
    server = Server([said, said, TAKEN]).sees(*[said] * IN_A_ROW)
    assert server.told == [SLOWED]
    assert is_declined(said)
    assert not is_declined(TAKEN)


def test_one_that_bans_us_for_good_is_left() -> None:
    server = Server([at(SHUT, 1)] * 99).sees(*[at(SHUT, n) for n in range(IN_A_ROW)])
    assert server.left_at == pytest.approx(BANS_S, abs=BANS_S / 4)
    assert server.presence.shuns_ns == 0


def test_one_that_may_be_full_of_ours_is_not_waited_for_until_they_end() -> None:
    server = Server([at(SHUT, 1)] * 99, open_for_s=1000)
    server.sees(*[at(SHUT, n) for n in range(IN_A_ROW)])
    assert (server.left_at, server.presence.is_there) == (None, True)


def test_one_that_is_away_again_and_again_is_told_of_now_and_then() -> None:
    server = Server([REFUSED, TAKEN] * 20).sees(*[REFUSED] * IN_A_ROW * 12)
    assert len(server.told) == 3
    assert "took no connections 10 times, together for 20 s" in server.told[-1]


def test_what_a_ban_met_is_blamed_on_no_close() -> None:
    banned = play(C.notify(), S.rst(active=True))
    facts: list[Fact] = [PlanFact((planned("close-notify-only"), planned("terminate")))]
    facts += [TrialFact(Trial("close-notify-only", "1.3", 0), CLEAN, Load(1, 1))]
    facts += [PathFact("close-notify-only", "1.3", False)]
    facts += [TrialFact(Trial("terminate", "1.3", 0), banned, Load(1, 1))]
    facts += [PathFact("terminate", "1.3", False)]

    def verdicts(*more: Fact) -> list[Verdict]:
        judging = RunInJudgement()
        for fact in (*facts, *more):
            judging.learn(fact)
        judging.catch_up(lambda: facts)
        return [cell.verdict for cell in judging.answer().cells]

    assert verdicts() == [Verdict.WARN, Verdict.WARN]
    later = GoneFact(banned.drive.events[-1].time_ns + 1, "it bans us", shuns=True)
    assert verdicts(later)[0] is Verdict.PASS  # what it did before stands, but for the path
    at_once = replace(later, since_ns=banned.drive.events[0].time_ns)
    assert verdicts(at_once) == [Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE]


IN_VAIN = replace(CLEAN, drive=HUNG)
EARLY = replace(CLEAN, drive=replace(CLEAN.drive, ended_early=True))


@pytest.mark.parametrize(
    ("unserved", "silent"),
    [
        (IN_VAIN, play(C.request(), C.fin(), silence(5))),
        (EARLY, play(C.request(), S.notify() + S.fin())),
    ],
)
def test_who_is_not_answered_by_a_limit_is_not_said_to_lose_data(
    unserved: Trace, silent: Trace
) -> None:
    """HAProxy's silent-drop, nginx's 444: what asks for the first time in its sequence met them."""
    ends = EventKind.GAVE_UP, EventKind.EOF
    events = (*silent.drive.events, *(DriverEvent(0, kind) for kind in ends))
    silent = replace(silent, drive=replace(silent.drive, events=events, owed=1, answered=0))
    facts: list[Fact] = [PlanFact((planned("terminate"), planned("abort"), planned("fin-only")))]
    facts += [TrialFact(Trial("terminate", "1.3", 0), moved(CLEAN, 1), Load(1, 1))]
    facts += [TrialFact(Trial("fin-only", "1.3", 0), moved(silent, 8), Load(1, 1))]
    facts += [TrialFact(Trial("terminate", "1.3", 1), moved(CLEAN, 12), Load(1, 1))]

    def doubt(more: list[Fact]) -> Doubt | None:
        judging = RunInJudgement()
        for fact in (*facts, *more):
            judging.learn(fact)
        judging.catch_up(lambda: (*facts, *more))
        return next(
            t.judgement.doubt for t in judging.answer().trials if t.trial.sequence == "fin-only"
        )

    limit: list[Fact] = [
        TrialFact(Trial("abort", "1.3", n), moved(unserved, 3 + n), Load(1, 1))
        for n in range(IN_A_ROW)
    ]
    assert doubt(limit) is Doubt.SHUT_OUT
    assert doubt(limit[1:]) is not Doubt.SHUT_OUT


def test_what_met_a_limit_on_connections_is_blamed_on_no_close() -> None:
    """The server shut out whoever came at the wrong time, and served the others."""
    early = play(C.notify(), S.rst(active=True))
    met = replace(SHUT, failure=None, mark=early.drive.mark, stage=Stage.SEQUENCE)
    early = replace(early, drive=met)
    shut = play(S.rst(active=True), failure="reset", stage=Stage.HANDSHAKE)
    shut = replace(shut, drive=replace(SHUT, failure="reset", mark=None))
    quiet: list[Fact] = [PlanFact((planned("terminate"), planned("abort"), planned("fin-only")))]
    quiet += [TrialFact(Trial("terminate", "1.3", 0), moved(CLEAN, 1), Load(1, 1))]
    quiet += [PathFact("terminate", "1.3", False)]
    limited = list(quiet)
    for n in range(IN_A_ROW):
        limited += [TrialFact(Trial("abort", "1.3", n), moved(shut, 2 + n), Load(1, 1))]
    limited += [TrialFact(Trial("fin-only", "1.3", 0), moved(early, 8), Load(1, 1))]
    limited += [PathFact("fin-only", "1.3", False)]
    limited += [TrialFact(Trial("terminate", "1.3", 1), moved(CLEAN, 9), Load(1, 1))]

    def verdicts(facts: list[Fact]) -> list[Verdict]:
        judging = RunInJudgement()
        for fact in facts:
            judging.learn(fact)
        judging.catch_up(lambda: facts)
        return [cell.verdict for cell in judging.answer().cells]

    assert verdicts(quiet)[0] is Verdict.WARN
    assert verdicts(limited)[1:] == [Verdict.INCONCLUSIVE] * 2
    assert verdicts(limited)[0] is not Verdict.WARN


@pytest.mark.packet_socket
def test_a_run_that_was_banned_says_so_and_blames_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "BANS_S", 2.0)
    names = "close-notify-fin", "fin-only", "fin-after-hello", "terminate"
    found = run(SmallServer(patience=10), tmp_path, *names, trials=6)
    assert not blamed(found)
    assert any("as one that bans us does" in note for note in found.notes)
    assert {Verdict.INCONCLUSIVE} >= {cell.verdict for cell in found.cells[1:]} - {Verdict.PASS}
