"""Frames by connection, whoever used the port before and afterwards, and how much is held."""

from __future__ import annotations

import io

import pytest

from tests.flows.wire import (
    ACK,
    CLIENT,
    FIN,
    HOST,
    PSH,
    RST,
    SERVER,
    SYN,
    Arrival,
    C,
    S,
    Talk,
    arrivals,
    frames,
)
from tlsprobe.captures.pcap import Reader
from tlsprobe.captures.pcapng_writer import Writer
from tlsprobe.flows.connection import NOTHING, Flow
from tlsprobe.model.trace import Coverage, Segment
from tlsprobe.packets.frames import ETHERNET
from tlsprobe.sniff import demultiplexer as module
from tlsprobe.sniff.demultiplexer import Demultiplexer

STRANGER = (HOST, 40_001)
LATER_NS = 2_000_000
TICK = 100 * 15_625
"""How far a kernel's initial numbers grow in 100 ms."""


def whole(client: tuple[bytes, int] = CLIENT) -> Talk:
    return Talk(client=client).opens().exchanges().closes()


def numbers(flow: Flow) -> list[int]:
    return [segment.number for segment in flow.segments]


def facts(segments: tuple[Segment, ...]) -> list[tuple[object, ...]]:
    return [(s.side, s.flags, s.start, s.length, s.ack) for s in segments]


def said(talk: Talk) -> list[tuple[object, ...]]:
    return [(s.side, s.flags, s.start, len(s.payload), s.ack) for s in talk.sent]


def expecting(times: int = 1, client: tuple[bytes, int] = CLIENT) -> Demultiplexer:
    demultiplexer = Demultiplexer(SERVER)
    for _ in range(times):
        demultiplexer.expect(client)
    return demultiplexer


def test_both_directions_are_one_connection_and_strangers_only_count() -> None:
    talk, demultiplexer = whole(), expecting()
    demultiplexer.file(arrivals(*frames(talk, whole(STRANGER)), b"junk"))
    assert (demultiplexer.kept, demultiplexer.others) == (9, 10)
    flow = demultiplexer.take(CLIENT)
    assert (facts(flow.segments), flow.coverage) == (said(talk), Coverage.WHOLE)
    assert numbers(flow) == list(range(1, 10))
    assert demultiplexer.last_ns == 1_000_000 + 18_000


def test_a_server_may_have_a_port_for_each_connection() -> None:
    talk, demultiplexer = whole(), Demultiplexer((SERVER[0], 21))
    demultiplexer.expect(CLIENT, SERVER[1])
    demultiplexer.file(arrivals(*frames(talk)))
    assert demultiplexer.take(CLIENT) is NOTHING
    flow = demultiplexer.take(CLIENT, port=SERVER[1])
    assert (facts(flow.segments), flow.coverage) == (said(talk), Coverage.WHOLE)


def test_what_was_taken_is_gone_and_no_longer_expected() -> None:
    demultiplexer = expecting()
    assert demultiplexer.take(CLIENT) == NOTHING
    demultiplexer.file(arrivals(*frames(whole())))
    assert demultiplexer.take(CLIENT) == NOTHING
    assert (demultiplexer.kept, demultiplexer.others) == (0, 9)


def test_who_expects_everyone_gets_each_with_its_name() -> None:
    demultiplexer = Demultiplexer(SERVER)
    demultiplexer.expect_everyone()
    first, other, second = whole(), whole(STRANGER), whole().again(5000, 50_000).opens()
    elsewhere = Talk(server=(HOST, 80)).opens()
    demultiplexer.file(arrivals(*frames(first, other, second, elsewhere), b"junk"))
    taken = demultiplexer.take_everyone()
    assert [client for client, _ in taken] == [CLIENT, CLIENT, STRANGER]
    assert [facts(flow.segments) for _, flow in taken] == [said(first), said(second), said(other)]


def test_only_expected_frames_reach_the_file_under_the_same_numbers() -> None:
    out, demultiplexer = io.BytesIO(), expecting()
    demultiplexer.writer = Writer(out, ETHERNET, "lo")
    talk, other = frames(whole()), frames(whole(STRANGER))
    demultiplexer.file(arrivals(*(data for pair in zip(other, talk, strict=True) for data in pair)))
    assert [f.data for f in Reader().feed(out.getvalue())] == talk
    assert numbers(demultiplexer.take(CLIENT)) == list(range(1, 10))


def test_file_and_memory_are_bounded_a_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_WHOLE", 5000)
    monkeypatch.setattr(module, "LATEST", 20)
    monkeypatch.setattr(module, "WAITING", 2000)
    out, demultiplexer = io.BytesIO(), expecting()
    demultiplexer.writer = Writer(out, ETHERNET, "lo")
    talk = Talk().opens().exchanges(100, 3000)
    demultiplexer.file(arrivals(*frames(talk)))
    kept = [len(f.data) for f in Reader().feed(out.getvalue())]
    assert (max(kept[:5]), max(kept[5:])) == (3066, module.HEADERS)
    segments, coverage = demultiplexer.take(CLIENT)
    assert facts(segments) == said(talk)[:16] + said(talk)[-20:]
    assert coverage is Coverage.WHOLE


def test_the_file_is_bounded_over_all_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WRITTEN_WHOLE", 5000)
    out, demultiplexer = io.BytesIO(), expecting()
    demultiplexer.expect(STRANGER)
    demultiplexer.writer = Writer(out, ETHERNET, "lo")
    for client in (CLIENT, STRANGER):
        demultiplexer.file(arrivals(*frames(Talk(client=client).opens().exchanges(2, 3000))))
    kept = [len(f.data) for f in Reader().feed(out.getvalue())]
    assert (max(kept[:5]), max(kept[7:])) == (3066, module.HELD)
    assert demultiplexer.kept == len(kept)


def test_frames_that_cannot_be_decoded_are_kept_and_are_no_segments() -> None:
    talk, demultiplexer = whole(), expecting()
    cut = talk.sent[3].frame()[:50]
    demultiplexer.file(arrivals(*frames(talk)[:3], cut, *frames(talk)[3:]))
    flow = demultiplexer.take(CLIENT)
    assert demultiplexer.kept == 10
    assert (numbers(flow), flow.coverage) == ([1, 2, 3, *range(5, 11)], Coverage.WHOLE)


# --- a port that is used again --------------------------------------------------------------------


def reused(late: bytes | None = None, *, step: int = TICK) -> tuple[Talk, list[Arrival]]:
    """The younger of two connections, and the frames of both; ``late`` is one of the older's."""
    older = whole()
    younger = older.again(older.client_isn + step, older.server_isn + step)
    younger.opens().exchanges().closes()
    before, after = frames(older), frames(younger)
    if late is not None:
        after[4:4] = [late]
    return younger, [
        *arrivals(*before, since_ns=1_000_000),
        *arrivals(*after, since_ns=LATER_NS),
    ]


def late_frames() -> dict[str, bytes]:
    """What the older connection may still send when the younger has begun."""
    older = whole()
    older.ip_id = {C: 5000, S: 6000}
    return {
        "ack": older.at(S, ACK, 101).frame(),
        "fin": older.at(S, FIN | ACK, 100).frame(),
        "data": older.at(S, PSH | ACK, 0, bytes(100)).frame(),
        "new data": older.at(S, PSH | ACK, 101, bytes(50)).frame(),
        "bare rst": older.at(S, RST, 101).frame(),
        "rst": older.at(S, RST | ACK, 101).frame(),
        "our rst": older.at(C, RST, 101).frame(),
    }


@pytest.mark.parametrize("name", late_frames())
@pytest.mark.parametrize("taken", [False, True], ids=["both untaken", "older taken"])
def test_late_packets_of_the_connection_before_are_not_ours(name: str, taken: bool) -> None:
    younger, seen = reused(late_frames()[name])
    demultiplexer = expecting(1 if taken else 2)
    demultiplexer.file(seen[:9])
    if taken:
        assert len(demultiplexer.take(CLIENT).segments) == 9
        demultiplexer.expect(CLIENT)
    demultiplexer.file(seen[9:])
    flow = demultiplexer.take(CLIENT, LATER_NS)
    assert (facts(flow.segments), flow.coverage) == (said(younger), Coverage.WHOLE)


@pytest.mark.parametrize("name", late_frames())
def test_late_packets_in_front_of_our_syn_are_not_ours(name: str) -> None:
    """Nothing of the connection before was seen: its port was somebody else's."""
    younger, seen = reused()
    demultiplexer = expecting()
    demultiplexer.file([(LATER_NS - 1, 999, late_frames()[name]), *seen[9:]])
    flow = demultiplexer.take(CLIENT, LATER_NS)
    assert (facts(flow.segments), flow.coverage) == (said(younger), Coverage.WHOLE)


def test_the_next_connection_from_our_port_is_not_ours() -> None:
    _, seen = reused()
    demultiplexer = expecting()
    demultiplexer.file(seen)
    flow = demultiplexer.take(CLIENT, 1_000_000, 1_500_000)
    assert numbers(flow) == list(range(1, 10))


def test_both_are_there_for_who_asks_first_and_who_asks_second() -> None:
    for order in ((0, 1), (1, 0)):
        _, seen = reused()
        demultiplexer = expecting(2)
        demultiplexer.file(seen)
        spans = [(1_000_000, 1_500_000), (LATER_NS, LATER_NS + 500_000)]
        found = {which: numbers(demultiplexer.take(CLIENT, *spans[which])) for which in order}
        assert found == {0: list(range(1, 10)), 1: list(range(10, 19))}
        assert demultiplexer.take(CLIENT) == NOTHING


def test_a_packet_that_either_may_have_sent_is_a_reason_for_doubt() -> None:
    """The initial numbers lie so close that the older one's RST fits the younger, too."""
    older = whole()
    younger = older.again(older.client_isn + 50, older.server_isn + 50).opens().exchanges()
    rst = older.at(S, RST, 101).frame()
    demultiplexer = expecting(2)
    demultiplexer.file(
        [*arrivals(*frames(older)[:9]), *arrivals(*frames(younger), rst, since_ns=LATER_NS)]
    )
    assert demultiplexer.take(CLIENT, LATER_NS).coverage is Coverage.HOLES


def test_a_packet_that_neither_has_sent_is_a_reason_for_doubt() -> None:
    _, seen = reused(Talk(1 << 30, 3 << 30).at(S, RST, 77).frame())
    demultiplexer = expecting(2)
    demultiplexer.file(seen)
    assert demultiplexer.take(CLIENT, LATER_NS).coverage is Coverage.HOLES


def test_a_forged_rst_on_a_port_of_one_connection_is_no_doubt() -> None:
    talk = Talk().opens().exchanges()
    forged = Talk(1 << 30, 3 << 30).at(S, RST, 77).frame()
    demultiplexer = expecting()
    demultiplexer.file(arrivals(*frames(talk), forged))
    segments, coverage = demultiplexer.take(CLIENT)
    assert (segments[-1].rst, coverage) == (True, Coverage.WHOLE)


@pytest.mark.parametrize("lost", ["syn", "all"])
def test_without_our_syn_there_are_holes_and_nobody_elses_packets(lost: str) -> None:
    younger, seen = reused()
    demultiplexer = expecting()
    demultiplexer.file(seen[:9])
    demultiplexer.take(CLIENT)
    demultiplexer.expect(CLIENT)
    demultiplexer.file(seen[10:] if lost == "syn" else [])
    segments, coverage = demultiplexer.take(CLIENT, LATER_NS)
    assert facts(segments) == (said(younger)[1:] if lost == "syn" else [])
    assert coverage is (Coverage.HOLES if lost == "syn" else Coverage.NONE)


def test_a_time_in_microseconds_is_not_before_the_call() -> None:
    """A capture program may cut off what is below."""
    demultiplexer = expecting()
    demultiplexer.file(arrivals(*frames(whole()), since_ns=LATER_NS))
    assert len(demultiplexer.take(CLIENT, LATER_NS + 999).segments) == 9


def test_what_is_remembered_of_old_ports_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FORMER", 3)
    demultiplexer = Demultiplexer(SERVER)
    for port in range(10):
        client = (HOST, 50_000 + port)
        demultiplexer.expect(client)
        demultiplexer.file(arrivals(*frames(whole(client))))
        assert len(demultiplexer.take(client).segments) == 9
    assert len(demultiplexer._former) == 3
    assert not demultiplexer._ways


def test_many_connections_on_one_port_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OLDER", 4)
    demultiplexer = expecting()
    talk = Talk().opens()
    for n in range(50):
        demultiplexer.file(arrivals(*frames(talk), since_ns=n * 1_000_000))
        talk = talk.again(talk.client_isn + TICK, talk.server_isn + TICK).opens()
    demultiplexer.take(CLIENT, 49_000_000)
    assert len(demultiplexer.take_everyone()) <= 7


def test_syn_of_another_number_is_another_connection_even_if_the_first_goes_on() -> None:
    """Somebody else's SYN in between takes nothing away from ours."""
    talk = Talk().opens()
    stray = talk.again(1 << 30, 0)
    syn = stray.says(C, SYN).frame()
    begun = len(talk.sent)
    talk.exchanges().closes()
    demultiplexer = expecting()
    demultiplexer.file(arrivals(*frames(talk)[:begun], syn, *frames(talk)[begun:]))
    flow = demultiplexer.take(CLIENT, 0, 1_000_000 + 1500)
    assert (facts(flow.segments), flow.coverage) == (said(talk), Coverage.WHOLE)


def test_under_other_addresses_a_connection_is_known_by_our_port_where_nat_is_known() -> None:
    # The server's packets have the socket's addresses and ours do not, as on loopback.
    real = (HOST, SERVER[1] + 1)
    whole_talk = whole()
    seen = [
        frame.replace(SERVER[1].to_bytes(2, "big"), real[1].to_bytes(2, "big"), 1)
        if segment.side is C
        else frame
        for segment, frame in zip(whole_talk.sent, frames(whole_talk), strict=True)
    ]
    for translated in (True, False):
        demultiplexer = Demultiplexer(SERVER, translated=translated)
        demultiplexer.expect(CLIENT)
        demultiplexer.file(arrivals(*seen))
        flow = demultiplexer.take(CLIENT)
        assert (flow.coverage is Coverage.WHOLE) is translated
        assert (facts(flow.segments) == said(whole_talk)) is translated
        assert demultiplexer.servers_met == ({real} if translated else set())


def test_a_port_is_not_known_under_other_addresses_once_its_connection_was_taken() -> None:
    demultiplexer = Demultiplexer((HOST, SERVER[1] + 1), translated=True)
    demultiplexer.expect(CLIENT)
    demultiplexer.file(arrivals(*frames(whole())))
    assert demultiplexer.take(CLIENT).coverage is Coverage.WHOLE
    demultiplexer.file(arrivals(*frames(whole())))
    assert demultiplexer.take(CLIENT) == NOTHING
    assert demultiplexer.others == len(frames(whole()))
