"""What goes wrong at the end of a connection without a reset; beside each, the near case that is
none.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.explain.talk import (
    ACK,
    ALERT_12,
    ALERT_13,
    CLIENT,
    CLIENT_HELLO,
    DATA,
    FIN,
    PSH,
    RST,
    SERVER,
    SYN,
    Given,
    Talk,
    explained,
    record,
    sealed,
    server_hello,
    tls12,
    tls13,
)
from tlsprobe.explain import Filter, choice, explain
from tlsprobe.model.alerts import DESCRIPTIONS
from tlsprobe.model.explanation import Explanation, Trouble, TroubleKind
from tlsprobe.model.trace import Side
from tlsprobe.report.troubles import trouble_sentence, trouble_sentences

OTHER = (CLIENT[0], 49999)


def found(talk: Talk, *others: Talk) -> Explanation:
    return explained(talk, *others, wanted=Filter())


def troubles(talk: Talk, *others: Talk) -> list[Trouble]:
    return [one for flow in found(talk, *others).flows for one in flow.troubles]


def said(talk: Talk, *others: Talk) -> list[tuple[str, str, str]]:
    return [(str(one.kind), str(one.side), one.what) for one in troubles(talk, *others)]


def later(talk: Talk, seconds: float) -> Talk:
    """Another connection so long after, which shows that the capture went on."""
    return Talk(client=OTHER, now=talk.now).wait(seconds).open()


def clean(talk: Talk, alert: bytes = ALERT_13) -> Talk:
    """The server ends it, and the client answers."""
    return talk.s(PSH | ACK | FIN, alert).c(PSH | ACK | FIN, alert).s()


def again(talk: Talk, way: int, times: int, gap: float = 1.0, **fields: object) -> Talk:
    """The last packet of this way, so many times more, each after twice the time."""
    last = talk.packets[-1]
    for n in range(times):
        talk.wait(gap * 2**n)
        talk._say(way, last.flags, last.payload, {"seq": last.seq} | fields)
    return talk


# --- nothing amiss --------------------------------------------------------------------------------


@pytest.mark.parametrize(("opening", "alert"), [(tls13, ALERT_13), (tls12, ALERT_12)])
def test_an_orderly_end_is_no_trouble(opening: Callable[[], Talk], alert: bytes) -> None:
    assert said(clean(opening(), alert)) == []
    assert not found(clean(opening(), alert)).found


def test_a_connection_that_goes_on_is_no_trouble() -> None:
    assert said(tls13(), later(tls13(), 3600)) == []
    assert said(Talk().open().c(PSH | ACK, b"x" * 10).s()) == []


def test_a_port_that_was_looked_at_is_no_trouble() -> None:
    """A health check connects and closes: TLS was never spoken."""
    assert said(Talk().open().c(ACK | FIN).s(ACK | FIN).c()) == []


# --- close_notify ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("opening", "sure"), [(tls13, False), (tls12, True)])
def test_a_fin_without_close_notify(opening: Callable[[], Talk], sure: bool) -> None:
    talk = opening().s(ACK | FIN)
    number = talk.number
    (one,) = troubles(talk.c(ACK | FIN).s())
    assert (one.kind, one.side) == (TroubleKind.NO_CLOSE_NOTIFY, Side.SERVER)
    assert (one.packets, one.sure) == ((number,), sure)


def test_a_fatal_alert_announces_the_end_too() -> None:
    assert said(tls12().s(PSH | ACK | FIN, ALERT_12).c(ACK | FIN).s()) == []


def refused(alert: bytes, side: str = "server") -> Talk:
    """A handshake that a side ends with an alert in the open."""
    talk = Talk().open().c(PSH | ACK, CLIENT_HELLO)
    if side == "server":
        return talk.s(PSH | ACK | FIN, record(21, alert)).c(ACK | FIN).s()
    talk.s(PSH | ACK, server_hello(0x0303, 0xC030) + record(22, bytes(900)))
    return talk.c(PSH | ACK | FIN, record(21, alert)).s(ACK | FIN).c()


@pytest.mark.parametrize(
    ("alert", "side", "name", "sentence"),
    [
        (b"\x02\x28", "server", "handshake_failure", "nothing suits it of what the client offers"),
        (b"\x02\x46", "server", "protocol_version", "no version of TLS in common"),
        (b"\x02\x30", "client", "unknown_ca", "does not know who signed the server's certificate"),
        (b"\x02\x50", "server", "internal_error", "tells the client what is wrong"),
    ],
)
def test_a_fatal_alert_in_the_open(alert: bytes, side: str, name: str, sentence: str) -> None:
    assert said(refused(alert, side)) == [("fatal-alert", side, name)]
    (told,) = trouble_sentences(found(refused(alert, side)))
    assert f"the {side} refused to go on: its alert {name} (packet " in told
    assert sentence in told


@pytest.mark.parametrize("alert", [b"\x01\x00", b"\x01\x5a", b"\x01\x70"])
def test_an_alert_that_ends_nothing_or_says_goodbye_is_none(alert: bytes) -> None:
    assert said(refused(alert)) == []


def test_of_a_connection_that_is_reset_the_reset_is_told() -> None:
    assert said(refused(b"\x02\x28").c(RST)) == []


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_each_alert_has_a_sentence(name: str) -> None:
    trouble = Trouble(TroubleKind.FATAL_ALERT, Side.CLIENT, (7,), 1, what=name)
    told = trouble_sentence(trouble)
    assert f"its alert {name} (packet 7) tells the server " in told
    assert "{" not in told


def test_what_may_be_an_alert_by_its_size_is_one() -> None:
    """A close_notify with data behind it, and no key to tell."""
    talk = tls13().s(PSH | ACK, ALERT_13).s(PSH | ACK | FIN, DATA).c(PSH | ACK | FIN, ALERT_13)
    assert said(talk.s()) == []


def test_data_that_stand_behind_a_fin_they_preceded_mislead_nobody() -> None:
    """dumpcap writes what two interfaces see in turns: these are the older ones."""
    talk = tls12().s(PSH | ACK, sealed(500)).c(PSH | ACK, ALERT_12).c(FIN | ACK).s(FIN | ACK).c()
    data = next(p for p in talk.packets if p.length == len(sealed(500)))
    twice = [*talk.packets, data._replace(interface=1, ip_id=1)]
    numbered = [packet._replace(number=n) for n, packet in enumerate(twice, 1)]
    assert not explain(Given(numbered, "pcapng", ()), Filter()).found


def test_a_close_notify_that_was_not_captured_is_not_missed() -> None:
    talk = tls13().s(PSH | ACK, ALERT_13).s(ACK | FIN).c(PSH | ACK | FIN, ALERT_13).s()
    del talk.packets[-4]
    assert said(talk) == []


def test_whose_peer_may_have_ended_unseen_misled_nobody() -> None:
    """The client's FIN was not captured, or nothing of the client's: only its acknowledgement."""
    talk = tls12().c(ACK | FIN).s(ACK | FIN)
    del talk.packets[-2]
    assert said(talk) == []
    half = tls12().c(ACK | FIN).s(ACK | FIN)
    half.packets[:] = [packet for packet in half.packets if packet.src == half.server]
    assert said(half) == []


def test_who_had_ended_tls_for_both_is_misled_by_nothing() -> None:
    """Before TLS 1.3 a close_notify does: what was still to come is dropped, unless it is said."""
    last = tls12().c(PSH | ACK, ALERT_12).s(ACK | FIN).c(ACK | FIN).s()
    assert said(last) == []
    more = tls12().c(PSH | ACK, ALERT_12).s(PSH | ACK, DATA).s(ACK | FIN).c(ACK | FIN).s()
    assert said(more) == [("no-close-notify", "server", "")]
    half = tls13().c(PSH | ACK, ALERT_13).s(ACK | FIN).c(ACK | FIN).s()
    assert said(half) == [("no-close-notify", "server", "")]


def test_it_is_said_of_the_client_only_where_the_server_still_listens() -> None:
    gone = tls13().s(PSH | ACK | FIN, ALERT_13).c(ACK | FIN).s()
    assert said(gone) == []
    first = tls13().c(ACK | FIN).s(PSH | ACK | FIN, ALERT_13).c()
    assert said(first) == [("no-close-notify", "client", "")]


def test_without_data_nothing_can_be_cut_off() -> None:
    talk = Talk().open().c(PSH | ACK, CLIENT_HELLO).s(ACK | FIN).c(ACK | FIN).s()
    assert not {kind for kind, *_ in said(talk)} & {"cut-short", "no-close-notify"}


def test_a_connection_caught_in_the_middle_is_judged_by_its_end() -> None:
    talk = (
        tls12().s(PSH | ACK, DATA).c(PSH | ACK, DATA).s(PSH | ACK, DATA).s(ACK | FIN).c(ACK | FIN)
    )
    talk.packets = talk.packets[9:]
    kinds = said(talk.s())
    assert kinds in ([], [("no-close-notify", "server", "")])


# --- cut short ------------------------------------------------------------------------------------


def test_a_record_that_was_begun() -> None:
    talk = tls13().c(PSH | ACK, DATA).s(PSH | ACK, sealed(3000)[:1000]).s(ACK | FIN)
    (one,) = troubles(talk.c(ACK | FIN).s())
    assert (one.kind, one.side, one.octets) == (TroubleKind.CUT_SHORT, Side.SERVER, 2005)


def test_a_head_of_a_record_that_was_begun() -> None:
    talk = tls13().s(PSH | ACK, DATA + b"\x17\x03\x03").s(ACK | FIN)
    (one,) = troubles(talk.c(ACK | FIN).s())
    assert (one.kind, one.octets) == (TroubleKind.CUT_SHORT, 2)


def test_a_record_that_a_reset_cut_off() -> None:
    talk = tls13().c(PSH | ACK, DATA).s(PSH | ACK, sealed(3000)[:1000]).s(RST | ACK)
    assert ("cut-short", "server", "record") in said(talk)


def test_a_record_that_the_client_did_not_wait_for() -> None:
    talk = tls13().c(PSH | ACK, DATA).s(PSH | ACK, sealed(3000)[:1000])
    assert said(talk.c(ACK | FIN).s(ACK | FIN).c()) == [("no-close-notify", "client", "")]


def test_a_record_whose_end_was_not_captured() -> None:
    talk = tls13().s(PSH | ACK, sealed(3000)[:1000]).s(PSH | ACK, sealed(3000)[1000:])
    talk.s(PSH | ACK | FIN, ALERT_13).c(PSH | ACK | FIN, ALERT_13).s()
    del talk.packets[-4]
    assert said(talk) == []


def test_records_cut_by_the_snap_length_are_whole() -> None:
    talk = clean(tls13().s(PSH | ACK, sealed(3000)))
    talk.packets = [p._replace(payload=p.payload[:60]) for p in talk.packets]
    assert said(talk) == []


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def plain(response: bytes, request: bytes = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") -> Talk:
    talk = Talk(server=(SERVER[0], 80)).open()
    if request:
        talk.c(PSH | ACK, request)
    for at in range(0, len(response), 1000):
        talk.s(PSH | ACK, response[at : at + 1000])
    return talk.s(ACK | FIN).c(ACK | FIN).s()


@pytest.mark.parametrize(
    ("response", "what", "octets"),
    [
        (HEAD % 5000 + bytes(2100), "content-length", 2900),
        (HEAD.replace(b"C", b"c") % 5000, "content-length", 5000),
        (CHUNKED + b"3e8\r\n" + bytes(1000) + b"\r\n", "chunks", None),
    ],
)
def test_a_response_in_the_open_that_is_cut_short(
    response: bytes, what: str, octets: int | None
) -> None:
    (one,) = troubles(plain(response))
    assert (one.kind, one.side) == (TroubleKind.CUT_SHORT, Side.SERVER)
    assert (one.what, one.octets) == (what, octets)


@pytest.mark.parametrize(
    ("response", "request_"),
    [
        (HEAD % 2100 + bytes(2100), b"GET / HTTP/1.1\r\n\r\n"),
        (HEAD % 5000, b"HEAD / HTTP/1.1\r\n\r\n"),
        (HEAD % 5000, b""),
        (HEAD.replace(b"200", b"304") % 5000, b"GET / HTTP/1.1\r\n\r\n"),
        (CHUNKED + b"1\r\nx\r\n0\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"),
        (CHUNKED + b"1\r\nx\r\n0\r\nDate: today\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + bytes(100), b"GET / HTTP/1.1\r\n\r\n"),
        (HEAD % 2 + b"ok" + HEAD % 2 + b"ok", b"GET / HTTP/1.1\r\n\r\n"),
    ],
)
def test_a_response_in_the_open_that_is_whole(response: bytes, request_: bytes) -> None:
    assert said(plain(response, request_)) == []


def test_a_response_cut_by_the_snap_length_is_not_called_short() -> None:
    talk = plain(CHUNKED + bytes(900))
    talk.packets = [p._replace(payload=p.payload[:80]) for p in talk.packets]
    assert said(talk) == []


# --- nobody there ---------------------------------------------------------------------------------


def test_a_peer_that_vanished() -> None:
    talk = again(tls13().c().s(PSH | ACK, DATA), 1, 4)
    (one,) = troubles(talk)
    assert (one.kind, one.side) == (TroubleKind.VANISHED, Side.CLIENT)
    assert len(one.packets) == 5
    assert one.seconds == pytest.approx(15, abs=0.1)


def test_a_peer_that_does_not_answer_a_fin_or_probes() -> None:
    assert said(again(clean(tls13()).s(ACK | FIN), 1, 0)) == []
    fin = again(tls13().c().s(PSH | ACK | FIN, ALERT_13), 1, 4)
    assert said(fin) == [("peer-vanished", "client", "data")]
    probing = tls13().wait(60)
    probing.c(ACK, seq=probing.seqs[0] - 1)
    again(probing, 0, 3, gap=2)
    assert said(probing) == [("peer-vanished", "server", "probes")]


def test_one_retransmission_too_few() -> None:
    assert said(again(tls13().c().s(PSH | ACK, DATA), 1, 1)) == []


def test_retransmissions_within_a_moment() -> None:
    assert said(again(tls13().c().s(PSH | ACK, DATA), 1, 3, gap=0.05)) == []


def test_a_peer_that_answers_at_last() -> None:
    assert said(again(tls13().c().s(PSH | ACK, DATA), 1, 4).c()) == []


def test_a_sender_that_goes_on_had_an_answer_that_was_not_captured() -> None:
    talk = again(tls13().c().s(PSH | ACK, DATA), 1, 3).s(PSH | ACK, DATA)
    assert said(talk) == []


def test_one_direction_alone_tells_of_nobody() -> None:
    talk = again(tls13().c().s(PSH | ACK, DATA), 1, 4)
    talk.packets = [p for p in talk.packets if p.src == SERVER]
    assert said(talk) == []


def test_a_syn_that_nobody_answers() -> None:
    talk = again(Talk().c(SYN), 0, 3)
    assert said(talk) == [("no-answer", "server", "")]
    assert said(again(Talk().c(SYN), 0, 1)) == []
    assert said(again(Talk().c(SYN), 0, 3).s(SYN | ACK).c()) == []


# --- zero window ----------------------------------------------------------------------------------


def stuck() -> Talk:
    """The client stops reading; the server has more, and asks in vain."""
    talk = tls13().s(PSH | ACK, sealed(900)).c(ACK, window=0)
    for n in range(3):
        talk.wait(2**n).s(ACK, seq=talk.seqs[1] - 1).c(ACK, window=0)
    return talk


def test_a_window_that_never_opens() -> None:
    (one,) = troubles(stuck())
    assert (one.kind, one.side, one.what) == (
        TroubleKind.ZERO_WINDOW,
        Side.CLIENT,
        "never-opened",
    )
    assert one.seconds == pytest.approx(7, abs=0.1)


def test_a_close_that_waited_for_the_window() -> None:
    talk = stuck().c(ACK, window=512).s(PSH | ACK | FIN, ALERT_13).c(PSH | ACK | FIN, ALERT_13).s()
    assert ("zero-window", "client", "opened-late") in said(talk)


def test_a_window_that_opens_while_there_is_more_to_say() -> None:
    talk = stuck().c(ACK, window=512).s(PSH | ACK, DATA).c().wait(30)
    assert said(clean(talk)) == []


def test_a_window_that_is_shut_for_a_moment() -> None:
    talk = tls13().s(PSH | ACK, sealed(900)).c(ACK, window=0)
    talk.s(ACK, seq=talk.seqs[1] - 1).c(ACK, window=0)
    assert said(talk) == []


def test_keepalive_probes_that_are_answered() -> None:
    talk = tls13()
    for _ in range(4):
        talk.wait(10).s(ACK, seq=talk.seqs[1] - 1).c(ACK)
    assert said(talk) == []


def test_a_text_that_tells_no_windows() -> None:
    talk = stuck()
    talk.packets = [p._replace(window=0) for p in talk.packets]
    assert said(talk) == []


# --- half-closed, slow, repeated ------------------------------------------------------------------


def test_a_connection_of_which_one_side_never_closes() -> None:
    talk = tls13().s(PSH | ACK | FIN, ALERT_13)
    number = talk.number
    talk.c()
    (one,) = troubles(talk, later(talk, 75))
    assert (one.kind, one.side, one.packets) == (
        TroubleKind.HALF_CLOSED,
        Side.CLIENT,
        (number,),
    )
    assert one.seconds == pytest.approx(75, abs=0.1)


def test_a_capture_that_ends_too_soon_to_say_so() -> None:
    talk = tls13().s(PSH | ACK | FIN, ALERT_13).c()
    assert said(talk, later(talk, 59)) == []
    assert said(talk) == []


def test_a_capture_of_several_times_says_nothing_of_what_lies_between() -> None:
    """A server was said never to have closed in 2133 days."""
    talk = tls13().s(PSH | ACK | FIN, ALERT_13).c()
    assert said(talk, later(talk, 86_400)) == [("half-closed", "client", "")]
    assert said(talk, later(talk, 30 * 86_400)) == []


def test_a_half_close_that_is_in_use() -> None:
    talk = tls13().c(PSH | ACK | FIN, ALERT_13).s().wait(50).s(PSH | ACK, DATA).c()
    assert said(talk, later(talk, 30)) == []
    assert said(talk, later(talk, 90)) == [("half-closed", "server", "data")]


def test_a_fin_that_was_not_captured_is_not_missed() -> None:
    talk = tls13().s(PSH | ACK | FIN, ALERT_13).c(PSH | ACK | FIN, ALERT_13).s()
    del talk.packets[-2]
    assert said(talk, later(talk, 75)) == []


def test_half_a_capture_tells_nothing_of_the_other_half() -> None:
    talk = tls13().s(PSH | ACK | FIN, ALERT_13).c()
    talk.packets = [p for p in talk.packets if p.src == SERVER]
    assert said(talk, later(talk, 75)) == []


def test_a_close_that_took_seconds() -> None:
    talk = tls13().s(PSH | ACK | FIN, ALERT_13).c().wait(5)
    talk.c(PSH | ACK | FIN, ALERT_13).s()
    (one,) = troubles(talk)
    assert (one.kind, one.side) == (TroubleKind.SLOW_CLOSE, Side.CLIENT)
    assert one.seconds == pytest.approx(5, abs=0.1)


def test_a_close_that_waits_for_an_alert() -> None:
    talk = tls13().s(PSH | ACK, ALERT_13).c().wait(5).s(ACK | FIN).c(PSH | ACK | FIN, ALERT_13)
    assert said(talk.s()) == [("slow-close", "client", "alert-own-fin")]
    prompt = tls13().s(PSH | ACK, ALERT_13).c(PSH | ACK, ALERT_13).wait(5).s(ACK | FIN).c(ACK | FIN)
    assert said(prompt.s()) == []


def test_a_close_that_goes_on_with_data_is_not_slow() -> None:
    talk = tls13().c(PSH | ACK | FIN, ALERT_13)
    for _ in range(4):
        talk.wait(1.5).s(PSH | ACK, DATA).c()
    talk.s(PSH | ACK | FIN, ALERT_13).c()
    assert said(talk) == []


def test_a_fin_that_comes_late_because_it_was_lost_is_repeated_and_nobody_waited() -> None:
    talk = again(tls13().c().s(PSH | ACK | FIN, ALERT_13), 1, 3).c(PSH | ACK | FIN, ALERT_13).s()
    assert said(talk) == [("repeated", "server", "FIN")]


def test_rst_after_rst() -> None:
    talk = tls13().s(PSH | ACK | FIN, ALERT_13)
    for _ in range(3):
        talk.c(PSH | ACK, DATA).bare_rst()
    assert said(talk) == [("repeated", "server", "RST")]


def test_refusals_are_not_repeated_resets() -> None:
    talk = Talk()
    for _ in range(4):
        talk.c(SYN, seq=1000).s(RST | ACK, seq=0, window=0, ip_id=0).wait(1)
    assert said(talk) == []


# --- how it is told -------------------------------------------------------------------------------


def test_trouble_is_found_and_counted() -> None:
    explanation = found(tls13().s(ACK | FIN).c(ACK | FIN).s(), clean(tls13(Talk(client=OTHER))))
    assert explanation.found
    assert (len(explanation.flows), explanation.quiet) == (1, 1)


def test_like_troubles_are_one_sentence() -> None:
    talks = [
        tls13(Talk(client=(CLIENT[0], 41000 + i), seqs=[i, i])).s(ACK | FIN).c(ACK | FIN).s()
        for i in range(3)
    ]
    (sentence,) = trouble_sentences(found(*talks))
    assert "2 more connections to this server likewise" in sentence


def test_resets_alone_leave_other_trouble_out() -> None:
    talk = tls13().s(ACK | FIN).c(ACK | FIN).s()
    assert explained(talk, wanted=Filter(side=Side.SERVER)).flows == ()


# --- much -----------------------------------------------------------------------------------------


def test_of_very_many_the_suspicious_are_looked_at_and_the_others_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(choice, "POSSIBLE_PACKETS", 100)
    busy = [tls13(Talk(client=(CLIENT[0], 41000 + i), seqs=[i, i])) for i in range(20)]
    for talk in busy:
        talk.s(ACK | FIN).c(ACK | FIN).s()
    other = tls13(Talk(server=(SERVER[0], 8443))).s(ACK | FIN).c(ACK | FIN).s()
    slow = tls13(Talk(client=OTHER)).s(PSH | ACK | FIN, ALERT_13).c().wait(5)
    slow.c(PSH | ACK | FIN, ALERT_13).s()
    explanation = found(other, *busy, slow)
    servers = [flow.server for flow in explanation.flows]
    assert "192.0.2.2:8443" in servers
    assert any(t.kind is TroubleKind.SLOW_CLOSE for f in explanation.flows for t in f.troubles)
    assert len(servers) < 10
    assert explanation.unlooked == 22 - len(servers)
    assert explanation.quiet == explanation.unlooked


# --- packets out of order -------------------------------------------------------------------------


def out_of_order(talk: Talk, late: int) -> Explanation:
    """Of two interfaces, of which one's packets were written behind all others."""
    kept = [p for n, p in enumerate(talk.packets) if n != late]
    numbered = [p._replace(number=n) for n, p in enumerate([*kept, talk.packets[late]], 1)]
    return explain(Given(numbered, "pcapng", ()), Filter())


def test_who_waited_for_whom_is_told_by_the_times() -> None:
    talk = tls12().s(PSH | ACK | FIN, ALERT_12).c().wait(5).c(PSH | ACK | FIN, ALERT_12).s()
    slow = out_of_order(talk, len(talk.packets) - 4)
    (told,) = [one for flow in slow.flows for one in flow.troubles]
    assert (told.kind, told.side) == (TroubleKind.SLOW_CLOSE, Side.CLIENT)
    assert told.packets == (len(talk.packets), len(talk.packets) - 2)


def test_a_peer_that_was_heard_last_by_its_time_had_not_vanished() -> None:
    talk = again(tls12().c(), 0, 4)
    heard = talk.packets[-1]
    answer = talk.wait(0.1).s(ack=heard.seq + heard.length).packets[-1]
    talk.packets = [*talk.packets[:9], answer, *talk.packets[9:-1]]
    numbered = [p._replace(number=n) for n, p in enumerate(talk.packets, 1)]
    assert not explain(Given(numbered, "pcapng", ()), Filter()).found
