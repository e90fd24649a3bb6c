"""Captures of every unpleasant kind, and what is said of them."""

from __future__ import annotations

import io
import shlex
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    flow_of,
    host,
    sealed,
    server_hello,
    tls12,
    tls13,
)
from tlsprobe.captures.reader import open_capture_file
from tlsprobe.captures.reading import CaptureUnreadable
from tlsprobe.explain import MOST_RESETS, Filter, explain
from tlsprobe.language import parse
from tlsprobe.model.causes import Cause
from tlsprobe.model.explanation import ExplainedFlow, ExplainedReset, Harm
from tlsprobe.model.judgement import Confidence, Reader
from tlsprobe.model.trace import Side
from tlsprobe.packets.packet import Packet, flow_key


def only(flow: ExplainedFlow) -> ExplainedReset:
    (told,) = flow.resets
    return told


def postgres_end(talk: Talk, alert: bytes) -> Talk:
    """Terminate, close_notify, the server's own, and an RST in place of a FIN."""
    talk.c(PSH | ACK, sealed(22)).c(PSH | ACK, alert).s(PSH | ACK, alert)
    return talk.s(RST | ACK)


# --- TLS without keys -----------------------------------------------------------------------------


@pytest.mark.parametrize(("opening", "alert"), [(tls13, ALERT_13), (tls12, ALERT_12)])
def test_the_case_that_started_it(opening: type, alert: bytes) -> None:
    talk = postgres_end(opening(), alert)
    flow = flow_of(talk)
    told = only(flow)
    assert flow.signature == "D N n r"
    assert flow.reader is Reader.RESET
    assert flow.complete
    assert told.reset.cause is Cause.UNREAD_AT_CLOSE
    assert told.reset.confidence is Confidence.MEDIUM
    assert told.reset.alternatives == (Cause.DELIBERATE, Cause.MIDDLEBOX)
    assert told.trigger == talk.number - 2
    assert any("close_notify, probably" in sentence for sentence in told.reset.evidence)


def test_the_version_is_told() -> None:
    assert flow_of(tls13().s(RST | ACK)).tls == "1.3"
    assert flow_of(tls12().s(RST | ACK)).tls == "1.2"
    assert flow_of(Talk().open().s(RST | ACK)).tls is None


def test_an_answer_to_the_close_notify_then_a_reset_is_deliberate() -> None:
    talk = tls13().c(PSH | ACK, ALERT_13).s(PSH | ACK, ALERT_13).s(RST | ACK)
    assert only(flow_of(talk)).reset.cause is Cause.DELIBERATE


@pytest.mark.parametrize(
    ("opening", "alert", "version"),
    [(tls13, ALERT_13, "TLS 1.2 or 1.3"), (tls12, ALERT_12, "TLS 1.2 or older")],
)
@pytest.mark.parametrize("kept", [2, 3, 4, 5])
def test_tls_without_a_hello_is_inferred_and_it_is_said(
    opening: type, alert: bytes, version: str, kept: int
) -> None:
    talk = postgres_end(opening(), alert)
    talk.packets = talk.packets[-kept - 1 :]
    flow = flow_of(talk)
    assert flow.tls is None
    assert flow.signature.endswith("n r")
    assert f"{version}, from its records; the handshake is not in the capture" in flow.notes
    assert only(flow).reset.confidence is not Confidence.HIGH


def test_data_after_close() -> None:
    talk = tls13().s(PSH | ACK | FIN, ALERT_13).c(PSH | ACK, ALERT_13).bare_rst()
    flow = flow_of(talk)
    assert flow.signature == "nf N r"
    assert flow.reader is Reader.EOF
    assert only(flow).reset.cause is Cause.DATA_AFTER_CLOSE
    assert only(flow).reset.confidence is Confidence.HIGH
    assert only(flow).trigger == talk.number - 1


def test_a_packet_that_provoked_two_resets_names_both() -> None:
    talk = tls13().s(PSH | ACK | FIN, ALERT_13).c(PSH | ACK, ALERT_13).bare_rst().bare_rst()
    flow = flow_of(talk)
    assert [told.trigger for told in flow.resets] == [talk.number - 2] * 2
    (line,) = [line for line in flow.ladder if "provokes" in line.text]
    assert line.text.endswith(f"provokes #{talk.number - 1}, #{talk.number}")


def test_tls_that_begins_in_the_middle() -> None:
    """PostgreSQL's SSLRequest, and any STARTTLS, come before the first record."""
    talk = Talk().open().c(PSH | ACK, bytes((0, 0, 0, 8, 4, 210, 22, 47))).s(PSH | ACK, b"S")
    talk.c(PSH | ACK, CLIENT_HELLO).s(PSH | ACK, server_hello() + sealed(69))
    talk.c(PSH | ACK, sealed(69)).c(PSH | ACK, DATA).s(PSH | ACK, DATA)
    flow = flow_of(postgres_end(talk, ALERT_13))
    assert flow.signature == "D N n r"
    assert "--profile postgres --tls 1.3 --sequence 'request; terminate; c" in (
        only(flow).experiment or ""
    )


def test_records_cut_by_the_snap_length() -> None:
    talk = postgres_end(tls13(), ALERT_13)
    talk.packets = [p._replace(payload=p.payload[:120]) for p in talk.packets]
    assert flow_of(talk).signature == "D N n r"


def test_a_record_over_many_segments_and_out_of_order() -> None:
    talk = tls13()
    big = sealed(3000)
    talk.c(PSH | ACK, DATA)
    for at in range(0, len(big), 500):
        talk.s(PSH | ACK, big[at : at + 500])
    talk.packets[-3], talk.packets[-2] = talk.packets[-2], talk.packets[-3]
    talk.packets[-3:-1] = [
        p._replace(time_ns=t.time_ns)
        for p, t in zip(talk.packets[-3:-1], talk.packets[-2:-4:-1], strict=True)
    ]
    talk.s(PSH | ACK | FIN, ALERT_13).c(PSH | ACK, ALERT_13).bare_rst()
    assert flow_of(talk).signature == "nf N r"


# --- whose, and which connection ------------------------------------------------------------------


def test_a_refusal() -> None:
    talk = Talk().c(SYN)
    talk.s(RST | ACK, seq=0, window=0, ip_id=0)
    told = only(flow_of(talk))
    assert (told.reset.cause, told.reset.confidence) == (Cause.REFUSED, Confidence.HIGH)
    assert told.trigger == 1


def test_a_connection_whose_syn_ack_was_not_captured_was_not_refused() -> None:
    """Its client acknowledges it, and is reset before it says a word."""
    talk = Talk().open()
    del talk.packets[1]
    told = only(flow_of(talk.s(RST | ACK)))
    assert told.reset.cause is Cause.DELIBERATE
    assert told.reset.confidence is not Confidence.HIGH


@pytest.mark.parametrize(
    ("said", "cause"), [(DATA, Cause.DATA_AFTER_CLOSE), (b"", Cause.CLOSED_ALREADY)]
)
def test_the_fin_may_be_among_what_the_capture_lacks(said: bytes, cause: Cause) -> None:
    talk = Talk().open().c(PSH | ACK, DATA).s(PSH | ACK, DATA).c().s(FIN | ACK).wait(350)
    talk.c(PSH | ACK if said else ACK, said).bare_rst()
    talk.packets = talk.packets[-2:]
    told = only(flow_of(talk))
    assert told.reset.cause is Cause.NO_STATE
    assert cause in told.reset.alternatives


def test_a_refusal_that_takes_seconds_may_be_a_boxs() -> None:
    talk = Talk().c(SYN).wait(5)
    talk.s(RST | ACK, seq=0, window=0, ip_id=0)
    reset = only(flow_of(talk)).reset
    assert (reset.cause, reset.confidence) == (Cause.REFUSED, Confidence.MEDIUM)
    assert reset.alternatives == (Cause.MIDDLEBOX,)


@pytest.mark.parametrize(("client", "server"), [(909, 2049), (41, 443)])
def test_without_a_syn_the_port_of_a_service_is_the_servers(client: int, server: int) -> None:
    """Whoever has the lower port: NFS's clients have low ones."""
    talk = Talk((host("192.0.2.1"), client), (host("192.0.2.2"), server))
    flow = flow_of(talk.c(PSH | ACK, DATA).s(PSH | ACK, DATA).c(RST | ACK))
    assert (flow.client, flow.server) == (f"192.0.2.1:{client}", f"192.0.2.2:{server}")
    assert any("its port is a service's" in note for note in flow.notes)


def test_behind_the_fins_of_both_sides_a_reset_hurts_nobody() -> None:
    """Both had closed; seconds later one of them resets, for whatever reason."""
    closed = Talk().open().c(PSH | ACK, DATA).s(PSH | ACK, DATA).c(FIN | ACK).s(FIN | ACK)
    half = Talk().open().c(PSH | ACK, DATA).s(PSH | ACK, DATA).s(FIN | ACK).c()
    for talk, harm in ((closed.c(), Harm.NOBODY), (half, Harm.ERROR)):
        told = only(flow_of(talk.wait(3).s(RST | ACK, window=0)))
        assert told.harm is harm
        assert told.helps.hurts.startswith("Nobody: both sides") is (harm is Harm.NOBODY)


def test_what_was_lost_is_lost_behind_the_fins_of_both_sides_too() -> None:
    """A request that was never read, and the server shut its write side down first."""
    talk = Talk().open().c(PSH | ACK, DATA).c(FIN | ACK).s(FIN | ACK).c().s(RST | ACK)
    told = only(flow_of(talk))
    assert (told.reset.cause, told.harm) == (Cause.UNREAD_AFTER_FIN, Harm.LOST)


def test_a_line_of_the_text_that_was_not_read_costs_confidence() -> None:
    """It may be what provoked the RST."""
    client, server = "192.0.2.7", "198.51.100.9"
    lines = [
        f"1 0.0 {client} {server} TCP 74 40000 > 443 [SYN] Seq=0 Win=64240 Len=0",
        f"2 0.1 {server} {client} TCP 74 443 > 40000 [SYN, ACK] Seq=0 Ack=1 Win=65160 Len=0",
        f"3 0.2 {client} {server} TCP 66 40000 > 443 [ACK] Seq=1 Ack=1 Win=64256 Len=0",
        f"4 5.0 {server} {client} TCP 66 443 > 40000 [FIN, ACK] Seq=1 Ack=1 Win=64256 Len=0",
        f"5 5.1 {client} {server} TCP 166 40000 > 443 [PSH, ACK] Seq=1 Ack=1 Win=64256 Len=100",
        f"6 5.2 {server} {client} TCP 54 443 > 40000 [RST] Seq=1 Win=0 Len=0",
    ]

    def confidence(text: list[str]) -> Confidence:
        with open_capture_file(io.BytesIO("\n".join(text).encode())) as reading:
            (flow,) = explain(reading).flows
        return only(flow).reset.confidence

    assert confidence(lines) is Confidence.HIGH
    lines[3] = lines[3].partition("Ack=")[0]
    assert confidence(lines) is Confidence.LOW


def test_numbers_that_wrap() -> None:
    talk = postgres_end(tls13(Talk(seqs=[2**32 - 400, 2**32 - 900])), ALERT_13)
    assert flow_of(talk).signature == "D N n r"
    assert flow_of(talk).complete


def test_a_fin_sent_twice_is_one() -> None:
    talk = tls13().s(ACK | FIN)
    again = talk.packets[-1]
    talk.s(seq=again.seq, flags=ACK | FIN).c(PSH | ACK, ALERT_13).bare_rst()
    flow = flow_of(talk)
    assert flow.signature == "f N r"
    assert only(flow).reset.cause is Cause.DATA_AFTER_CLOSE


def test_a_packet_seen_twice_is_one() -> None:
    talk = postgres_end(tls13(), ALERT_13)
    twice = [p for one in talk.packets for p in (one, one._replace(copy=True, interface=1))]
    count = len(talk.packets)
    talk.packets = twice
    flow = flow_of(talk)
    assert len(flow.resets) == 1
    assert any(note.startswith(f"the capture has {count} packets twice") for note in flow.notes)


def test_a_hole_costs_confidence() -> None:
    talk = tls13().s(PSH | ACK | FIN, ALERT_13).c(PSH | ACK, ALERT_13).bare_rst()
    del talk.packets[8]
    flow = flow_of(talk)
    assert not flow.complete
    assert only(flow).reset.confidence is Confidence.MEDIUM


def test_without_the_beginning_the_server_is_guessed_and_it_is_said() -> None:
    talk = postgres_end(tls13(), ALERT_13)
    talk.packets = talk.packets[9:]
    flow = flow_of(talk)
    assert (flow.client, flow.server) == ("192.0.2.1:40000", "192.0.2.2:443")
    assert any("guessed" in note for note in flow.notes)
    assert only(flow).reset.cause is Cause.UNREAD_AT_CLOSE
    assert only(flow).reset.confidence is Confidence.LOW


def test_bytes_from_before_the_capture_are_not_counted_as_unread() -> None:
    """Numbers relative to a beginning that is not there (tshark's in the middle of a stream)."""
    talk = Talk(seqs=[90_001, 5001], relative=True).s(PSH | ACK, bytes(100))
    talk.c(PSH | ACK, bytes(50)).c(PSH | ACK, bytes(31)).s(RST | ACK)
    evidence = " ".join(only(flow_of(talk, kind="text")).reset.evidence)
    assert "it acknowledges 81 bytes of the client (packets 2 to 3)" in evidence


def test_the_client_hello_tells_who_is_who() -> None:
    odd = Talk(client=(host("192.0.2.9"), 7), server=(host("192.0.2.8"), 50000))
    talk = postgres_end(tls13(odd), ALERT_13)
    talk.packets = talk.packets[3:]
    assert flow_of(talk).server == "192.0.2.8:50000"


@pytest.mark.parametrize("kept", [0, 1])
def test_half_a_capture(kept: int) -> None:
    talk = tls13().s(PSH | ACK | FIN, ALERT_13).c(PSH | ACK, ALERT_13).bare_rst()
    talk.packets = [p for p in talk.packets if (p.src == SERVER) == kept]
    flows = explained(talk).flows
    assert not flows[0].complete
    if kept:
        assert only(flows[0]).reset.cause is Cause.DATA_AFTER_CLOSE
        assert only(flows[0]).reset.confidence is not Confidence.HIGH
    else:
        assert flows[0].resets == ()


def test_half_a_capture_of_unread_data() -> None:
    talk = postgres_end(tls13(), ALERT_13)
    talk.packets = [p for p in talk.packets if p.src == SERVER]
    told = only(flow_of(talk))
    assert told.reset.cause is Cause.UNREAD_AT_CLOSE
    assert told.reset.confidence is Confidence.LOW


def test_a_port_used_again_is_another_connection() -> None:
    first = tls13().s(PSH | ACK | FIN, ALERT_13).c(ACK | FIN).s()
    second = tls13(Talk(seqs=[900_000, 800_000], number=first.number, now=first.now))
    flows = explained(first, postgres_end(second, ALERT_13)).flows
    assert [len(flow.resets) for flow in flows] == [1, 0]
    assert flows[0].signature == "D N n r"


def test_a_late_bare_rst_belongs_to_the_connection_whose_numbers_it_fits() -> None:
    first = tls13().s(PSH | ACK | FIN, ALERT_13).c(PSH | ACK, ALERT_13)
    far = Talk(seqs=[2**31, 2**31 + 77], number=first.number, now=first.now)
    second = far.open().c(PSH | ACK, CLIENT_HELLO)
    first.now, first.number = second.now, second.number
    first.bare_rst()
    loud, quiet = explained(first, second).flows
    assert only(loud).reset.cause is Cause.DATA_AFTER_CLOSE
    assert quiet.resets == ()


def test_a_stranger_that_continues_a_connection_is_that_connection() -> None:
    """Lost NAT state: both ports are named, and the cause is sure though no SYN was seen."""
    known = tls13()
    stranger = Talk(client=(CLIENT[0], 61001), seqs=list(known.seqs), now=known.now).wait(350)
    stranger.c(PSH | ACK, DATA).bare_rst()
    loud = explained(known, stranger).flows[0]
    told = only(loud)
    assert (told.reset.cause, told.reset.confidence) == (Cause.NO_STATE, Confidence.HIGH)
    said = " ".join(told.reset.evidence)
    assert "192.0.2.1:61001" in said
    assert "192.0.2.1:40000" in said
    assert "rewritten" in said


def test_a_stranger_with_other_numbers_is_a_stranger() -> None:
    stranger = Talk(client=(CLIENT[0], 61001), seqs=[7_000_000, 8_000_000], now=10**18)
    told = only(explained(tls13(), stranger.c(PSH | ACK, DATA).bare_rst()).flows[0])
    assert told.reset.cause is Cause.NO_STATE
    assert told.reset.confidence is Confidence.LOW
    assert "rewritten" not in " ".join(told.reset.evidence)


def test_idle_time_near_a_known_timer_is_told_and_an_experiment_named() -> None:
    told = only(flow_of(tls13().wait(350).c(PSH | ACK, DATA).bare_rst()))
    assert told.reset.cause is Cause.NO_STATE
    assert any("NLB" in sentence for sentence in told.reset.evidence)
    assert told.experiment is not None
    assert "sleep 350" in told.experiment


# --- text -----------------------------------------------------------------------------------------


def as_text(talk: Talk) -> Talk:
    """As tcpdump prints it: no payload, relative numbers but for SYNs and bare RSTs."""
    bases = {talk.client: talk.packets[0].seq, talk.server: talk.packets[1].seq}
    printed: list[Packet] = []
    for packet in talk.packets:
        p = packet._replace(payload=b"", ttl=None, ip_id=None, df=None)
        if p.flags & ACK and not p.flags & SYN:
            assert p.ack is not None
            ack = (p.ack - bases[p.dst]) % 2**32
            seq = (p.seq - bases[p.src]) % 2**32
            printed.append(p._replace(seq=seq, ack=ack, relative=True))
        else:
            printed.append(p)
    return replace(talk, packets=printed)


def test_text_with_relative_numbers_and_an_absolute_bare_rst() -> None:
    talk = tls13().s(PSH | ACK | FIN, ALERT_13).c(PSH | ACK, ALERT_13).bare_rst()
    flow = flow_of(as_text(talk), kind="text")
    assert flow.complete
    assert only(flow).reset.cause is Cause.DATA_AFTER_CLOSE
    assert only(flow).reset.confidence is Confidence.HIGH


def test_text_without_the_handshake_and_an_absolute_bare_rst() -> None:
    talk = as_text(tls13().s(PSH | ACK | FIN, ALERT_13).c(PSH | ACK, ALERT_13).bare_rst())
    talk.packets = talk.packets[8:]
    flow = flow_of(talk, kind="text")
    assert only(flow).reset.cause is Cause.DATA_AFTER_CLOSE
    assert only(flow).reset.confidence is Confidence.MEDIUM
    assert any("absolute" in note for note in flow.notes)


def test_text_names_the_connection_that_a_stranger_continues() -> None:
    """tcpdump prints the first numbers of a connection in full."""
    known = tls13()
    stranger = Talk(client=(CLIENT[0], 61001), seqs=list(known.seqs), now=known.now)
    stranger.c(PSH | ACK, DATA).bare_rst()
    stranger.packets = [p._replace(payload=b"", ttl=None, ip_id=None) for p in stranger.packets]
    told = only(explained(as_text(known), stranger, kind="text").flows[0])
    assert told.reset.cause is Cause.NO_STATE
    assert "rewritten" in " ".join(told.reset.evidence)


def test_text_without_times_keeps_its_order() -> None:
    talk = as_text(postgres_end(tls13(), ALERT_13))
    timeless = [p._replace(time_ns=0, number=n) for n, p in enumerate(talk.packets, 1)]
    (flow,) = explain(Given(timeless, "text", ()), Filter(quiet=True)).flows
    assert flow.signature == "D N n r"


# --- much -----------------------------------------------------------------------------------------


def test_like_connections_keep_one_ladder() -> None:
    talks = [
        postgres_end(tls13(Talk(client=(CLIENT[0], 41000 + i), seqs=[i, i])), ALERT_13)
        for i in range(5)
    ]
    flows = explained(*talks).flows
    assert [bool(flow.ladder) for flow in flows] == [True, False, False, False, False]


def test_many_rsts_of_one_connection_are_bounded() -> None:
    talk = tls13().s(ACK | FIN)
    for _ in range(MOST_RESETS + 5):
        talk.c(PSH | ACK, DATA).bare_rst()
    flow = flow_of(talk)
    assert len(flow.resets) == MOST_RESETS
    assert any("5 more" in note for note in flow.notes)


def test_a_long_connection_keeps_its_close() -> None:
    talk = tls13()
    for _ in range(700):
        talk.c(PSH | ACK, DATA).s(PSH | ACK, DATA)
    flow = flow_of(postgres_end(talk, ALERT_13))
    assert flow.complete
    assert flow.signature == "D N n r"


def test_only_what_was_asked_for() -> None:
    loud, quiet = postgres_end(tls13(), ALERT_13), tls13(Talk(client=(CLIENT[0], 40001)))
    assert len(explained(loud, quiet).flows) == 2
    calm = explained(loud, quiet, wanted=Filter())
    assert (len(calm.flows), calm.quiet) == (1, 1)
    assert explained(loud, quiet, wanted=Filter(port=40001)).found is False
    assert explained(loud, quiet, wanted=Filter(host="192.0.2.1")).found


def test_the_clients_reset_is_the_clients() -> None:
    talk = tls13().c(PSH | ACK, ALERT_13).c(ACK | FIN).s(PSH | ACK, ALERT_13).bare_rst(0)
    told = only(flow_of(talk))
    assert (told.reset.side, told.reset.cause) == (Side.CLIENT, Cause.DATA_AFTER_CLOSE)
    assert told.experiment is None


def test_the_experiment_repeats_what_the_client_did_and_leaves_the_rest_out() -> None:
    talk = postgres_end(tls13(Talk(server=(SERVER[0], 5432))), ALERT_13)
    assert only(flow_of(talk)).experiment == (
        "tlsprobe run --target 192.0.2.2:5432 --profile postgres --tls 1.3"
        " --sequence 'request; terminate; close_notify; drain 2s'"
        " --sequence 'request; terminate; drain 2s'"
    )


# --- whatever the capture -------------------------------------------------------------------------

endpoints = st.sampled_from([CLIENT, SERVER, (CLIENT[0], 40001)])
packets = st.builds(
    Packet,
    number=st.just(0),
    time_ns=st.integers(0, 2**62),
    key=st.builds(flow_key, endpoints, endpoints),
    seq=st.integers(0, 2**32 - 1) | st.integers(0, 300),
    ack=st.none() | st.integers(0, 2**32 - 1) | st.integers(0, 300),
    flags=st.integers(0, 255),
    window=st.integers(0, 65535),
    length=st.integers(0, 2000),
    payload=st.sampled_from([b"", CLIENT_HELLO, server_hello(), DATA, ALERT_12, b"\x16\x03"]),
    ttl=st.none() | st.integers(0, 255),
    ip_id=st.none() | st.integers(0, 65535),
    df=st.none() | st.booleans(),
    timestamps=st.booleans(),
    window_scale=st.none(),
    options=st.none(),
    interface=st.just(0),
    relative=st.booleans(),
    copy=st.booleans(),
)


def test_a_capture_without_a_packet_shows_nothing() -> None:
    with pytest.raises(CaptureUnreadable, match="it holds no packet"):
        explain(Given([], "pcap", ()))


@pytest.mark.slow
@given(st.lists(packets, min_size=1, max_size=25), st.sampled_from(["pcap", "text"]))
@settings(deadline=None)
def test_whatever_comes_is_explained(found: list[Packet], kind: str) -> None:
    numbered = [p._replace(number=n) for n, p in enumerate(found, 1)]
    explanation = explain(Given(numbered, kind, ()), Filter(quiet=True))  # type: ignore[arg-type]
    seen = sum(bool(p.flags & RST) for p in numbered if not p.copy)
    assert sum(len(flow.resets) for flow in explanation.flows) == seen


@pytest.mark.parametrize(
    ("opening", "steps"),
    [
        (tls13().c(PSH | ACK, ALERT_13), ["request; close_notify", "request; fin"]),
        (tls13().c(ACK | FIN), ["request; fin", "request"]),
        (tls13().c(PSH | ACK | FIN, ALERT_13), ["request; close_notify + fin", "request; fin"]),
        (tls13().c(PSH | ACK, DATA).c(PSH | ACK, DATA), ["request; send", "request"]),
    ],
)
def test_every_experiment_is_a_sequence_that_parses(opening: Talk, steps: list[str]) -> None:
    said = only(flow_of(opening.s(RST | ACK))).experiment
    assert said is not None
    words = shlex.split(said)
    sequences = [words[i + 1] for i, word in enumerate(words) if word == "--sequence"]
    assert sequences == [f"{step}; drain 2s" for step in steps]
    assert all(str(parse(text)) for text in sequences)
