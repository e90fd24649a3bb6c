"""What to do next: a line that `tlsprobe run` takes, or the capture that would tell; never both in
vain.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.cli.in_process import tlsprobe
from tests.explain.talk import (
    ACK,
    ALERT_12,
    ALERT_13,
    CLIENT,
    DATA,
    PSH,
    RST,
    SERVER,
    SYN,
    Talk,
    explained,
    flow_of,
    record,
    sealed,
    server_hello,
    tls12,
    tls13,
)
from tests.explain.test_corpus import CAPTURES
from tests.explain.test_corpus import explained as explained_capture
from tlsprobe.cli import run as run_command
from tlsprobe.explain.experiment import _server
from tlsprobe.model.causes import Cause
from tlsprobe.model.explanation import ExplainedReset
from tlsprobe.records.server_name import server_name

TAKEN = 77


def only(talk: Talk, kind: str = "pcap") -> ExplainedReset:
    (told,) = flow_of(talk, kind=kind).resets  # type: ignore[arg-type]
    return told


def hello(name: bytes) -> bytes:
    """A ClientHello that asks for a server by name."""
    entry = b"\x00" + len(name).to_bytes(2, "big") + name
    extension = len(entry).to_bytes(2, "big") + entry
    extensions = b"\x00\x00" + len(extension).to_bytes(2, "big") + extension
    body = b"\x03\x03" + bytes(32) + b"\x00" + b"\x00\x02\x13\x01" + b"\x01\x00"
    body += len(extensions).to_bytes(2, "big") + extensions
    return record(22, b"\x01" + len(body).to_bytes(3, "big") + body)


def named(name: bytes, port: int = 443) -> Talk:
    """A session of TLS 1.3 whose client asked for this name, and closed with its alert unread."""
    talk = Talk(server=(SERVER[0], port)).open().c(PSH | ACK, hello(name))
    talk.s(PSH | ACK, server_hello() + sealed(69)).c(PSH | ACK, sealed(69))
    talk.c(PSH | ACK, DATA).s(PSH | ACK, DATA)
    return talk.c(PSH | ACK, ALERT_13).s(RST | ACK)


# --- a line that is taken -------------------------------------------------------------------------


def lines() -> list[str]:
    """All that is printed over the corpus, and of talks of other kinds."""
    talks = [
        named(b"db.example"),
        named(b"mail.example", 465),
        named(b"x", 5432),
        tls12().c(PSH | ACK, sealed(22)).c(PSH | ACK, ALERT_12).s(RST | ACK),
        tls13().wait(350).c(PSH | ACK, DATA).bare_rst(),
        tls13(Talk(server=(SERVER[0], 636))).c(PSH | ACK, DATA).s(RST | ACK),
    ]
    found = [explained_capture(path) for path in CAPTURES] + [explained(talk) for talk in talks]
    printed = {
        told.experiment
        for explanation in found
        for flow in explanation.flows
        for told in flow.resets
        if told.experiment
    }
    return sorted(printed)


@pytest.mark.slow
def test_every_line_is_one_that_the_command_line_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but the probing itself: options, target, profile, sequences, and whether they fit."""
    plan = getattr(run_command, "jobs_of")  # noqa: B009 - imported there, and not its own

    def planned(asked: Any) -> Any:
        assert plan(asked)
        raise typer.Exit(TAKEN)

    async def recognised(asked: Any, _: Any) -> Any:
        return asked

    monkeypatch.setattr(run_command, "jobs_of", planned)
    monkeypatch.setattr(run_command, "recognised", recognised)
    printed = lines()
    assert len(printed) > 8
    for line in printed:
        program, *words = shlex.split(line)
        assert program == "tlsprobe"
        ran = tlsprobe(*words, cwd=tmp_path)
        assert ran.code == TAKEN, f"{line}: {ran.err}"


def test_a_line_is_complete() -> None:
    words = shlex.split(only(named(b"db.example", 5432)).experiment or "")
    assert words[:10] == [
        *("tlsprobe", "run", "--target", "192.0.2.2:5432"),
        *("--profile", "postgres", "--sni", "db.example", "--tls", "1.3"),
    ]


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (hello(b"db.example")[5:], "db.example"),
        (hello(b"DB.Example")[5:], "db.example"),
        (hello(b"a b;c")[5:], None),
        (hello(b"")[5:], None),
        (hello(b"db.example")[5:40], None),
        (server_hello()[5:], None),
        (b"\x01", None),
    ],
)
def test_the_name_that_a_client_asks_for(body: bytes, name: str | None) -> None:
    assert server_name(body) == name


# --- where no line helps --------------------------------------------------------------------------


def test_what_is_not_tls_cannot_be_settled() -> None:
    talk = Talk(server=(SERVER[0], 80)).open().c(PSH | ACK, bytes(90)).s(PSH | ACK, bytes(400))
    told = only(talk.c(PSH | ACK, bytes(90)).s(RST | ACK))
    assert told.reset.cause is Cause.UNREAD_AT_CLOSE
    assert told.experiment is None
    assert "tcp_send_reset" in (told.capture or "")


def test_a_protocol_that_asks_for_tls_in_words_of_its_own_cannot_be_settled() -> None:
    talk = Talk(server=(SERVER[0], 9999)).open().s(PSH | ACK, b"hello\n").c(PSH | ACK, b"tls?\n")
    talk.c(PSH | ACK, hello(b"x")).s(PSH | ACK, server_hello() + sealed(69))
    talk.c(PSH | ACK, sealed(69)).c(PSH | ACK, DATA).s(PSH | ACK, DATA)
    assert only(talk.c(PSH | ACK, ALERT_13).s(RST | ACK)).experiment is None


def test_a_version_that_we_do_not_speak_cannot_be_settled() -> None:
    talk = Talk().open().c(PSH | ACK, hello(b"x")).s(PSH | ACK, server_hello(0x0302, 0x002F))
    talk.c(PSH | ACK, record(22, bytes(70))).s(PSH | ACK, record(22, bytes(40)))
    talk.c(PSH | ACK, DATA).s(PSH | ACK, DATA).c(PSH | ACK, DATA)
    assert only(talk.s(RST | ACK)).experiment is None


def test_a_peer_that_vanished_cannot_be_settled() -> None:
    talk = tls13().wait(60)
    for _ in range(3):
        talk.wait(10).s(ACK, seq=talk.seqs[1] - 1)
    told = only(talk.wait(10).s(RST | ACK))
    assert told.reset.cause is Cause.KEEPALIVE
    assert (told.experiment, told.capture) == (None, None)


def test_the_clients_own_reset_cannot_be_settled() -> None:
    told = only(tls13().c(PSH | ACK, DATA).s(PSH | ACK, DATA).c(RST | ACK))
    assert told.experiment is None


def test_what_is_certain_needs_nothing() -> None:
    talk = Talk().c(SYN)
    told = only(talk.s(RST | ACK, seq=0, window=0, ip_id=0))
    assert (told.experiment, told.capture) == (None, None)


def test_a_capture_in_part_is_to_be_longer() -> None:
    talk = tls13().c(PSH | ACK, DATA).s(PSH | ACK, DATA).c(RST | ACK)
    talk.packets = talk.packets[9:]
    assert "from the first SYN on" in (only(talk).capture or "")


def test_what_may_have_been_made_on_the_way_is_to_be_captured_at_both_ends() -> None:
    told = only(tls13().wait(9).bare_rst())
    assert Cause.MIDDLEBOX in {told.reset.cause, *told.reset.alternatives}
    assert "both hosts" in (told.capture or "")


@pytest.mark.parametrize(
    "server", ["db", "$(reboot):1", "a b:1", "x:0", "x:65536", "[::1]", "-x:1", "x:1;y"]
)
def test_no_line_for_what_is_no_target(server: str) -> None:
    told = only(tls13(Talk(client=CLIENT)).s(RST | ACK))
    assert told.experiment
    trace: Any = None
    assert _server(trace, server, None) is None
