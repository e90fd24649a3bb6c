"""`tlsprobe explain` as people call it, and held against what `run` said of the same packets."""

from __future__ import annotations

import json
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import trio

from tests.children import child
from tests.conftest import NginxFactory
from tests.e2e.probing import Ran, at, probe, tlsprobe
from tests.e2e.test_bad_input import until
from tests.servers import GENEROUS_S, Postgres
from tlsprobe.model.judgement import Doubt
from tlsprobe.model.trace import Side
from tlsprobe.reference.server import running
from tlsprobe.report.document import Document
from tlsprobe.report.schema import closed, explain_schema

CORPUS = Path(__file__).parents[1] / "data/corpus"
UNREAD = CORPUS / "postgres-terminate-close-notify-4.pcapng"
QUIET = CORPUS / "polite-close-notify-fin-4.pcapng"


CUT_SHORT = {Doubt.OVERTAKEN, Doubt.ENDED_EARLY, Doubt.NOT_REACHED}
"""Of these `run` judges less than `explain` sees: a slow machine meets the server's idle timer."""


def document(ran: Ran) -> Document:
    told: Document = json.loads(ran.out)
    jsonschema.validate(told, closed(explain_schema()))
    return told


# --- as people call it ----------------------------------------------------------------------------


def test_a_reset_is_told_with_packets_remedy_and_experiment(tmp_path: Path) -> None:
    ran = tlsprobe("explain", str(UNREAD), cwd=tmp_path)
    assert ran.code == 1
    assert ran.err == ""
    for words in (
        "unread-data-at-close",
        "ECONNRESET where EOF belongs",
        "tlsprobe run --target 127.0.0.1:",
        "provokes #",
        "RST with ACK: unread-data-at-close",
        "Server: read until the client's close_notify",
    ):
        assert words in " ".join(ran.out.split())
    assert any(line.startswith(">") for line in ran.out.splitlines())


def test_no_reset_is_exit_0(tmp_path: Path) -> None:
    ran = tlsprobe("explain", str(QUIET), cwd=tmp_path)
    assert (ran.code, ran.err) == (0, "")
    assert "no reset" in ran.out


@pytest.mark.parametrize("content", [b"", b"nothing of the kind", bytes(100)])
def test_what_cannot_be_read_is_exit_2_and_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    ran = tlsprobe("explain", "file", cwd=tmp_path)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: ")
    assert "Traceback" not in ran.err


def test_missing_files_are_exit_2(tmp_path: Path) -> None:
    assert tlsprobe("explain", "none.pcap", cwd=tmp_path).code == 2
    ran = tlsprobe("explain", str(UNREAD), "--keys", "none", cwd=tmp_path)
    assert ran.code == 2
    assert "--keys" in ran.err


def test_the_document_is_alone_on_standard_output(tmp_path: Path) -> None:
    ran = tlsprobe("explain", str(UNREAD), "--json", cwd=tmp_path)
    assert ran.code == 1
    told = document(ran)
    assert told["schema"] == "tlsprobe.explain/1"
    assert told["input"]["kind"] == "pcapng"
    (loud,) = (flow for flow in told["flows"] if flow["resets"])
    assert (loud["signature"], loud["reader"]) == ("D N n r", "reset")
    assert ran.out == tlsprobe("explain", str(UNREAD), "--format", "json", cwd=tmp_path).out


def test_markdown_pastes_into_a_ticket(tmp_path: Path) -> None:
    ran = tlsprobe("explain", str(UNREAD), "--format", "markdown", cwd=tmp_path)
    assert ran.code == 1
    diagram = ran.out.partition("```mermaid\n")[2].partition("```")[0].splitlines()
    assert diagram[0] == "sequenceDiagram"
    assert 3 < len(diagram) < 16
    assert any("-x" in line for line in diagram)
    assert any("provokes packet " in line for line in diagram)
    assert "#" not in "".join(diagram)


def test_filters(tmp_path: Path) -> None:
    assert tlsprobe("explain", str(UNREAD), "--port", "1", cwd=tmp_path).code == 0
    assert tlsprobe("explain", str(UNREAD), "--host", "127.0.0.1", cwd=tmp_path).code == 1
    ran = tlsprobe("explain", str(QUIET), "--all", cwd=tmp_path)
    assert ran.code == 0
    assert "n f" in ran.out or "N F n f" in ran.out


# --- the passive and the active view of one run ---------------------------------------------------


def agreed(ran: Ran, *words: str) -> int:
    """Holds every trial's server RSTs against the explanation of the same packets; how many."""
    told = document(
        tlsprobe("explain", "out/capture.pcapng", "--json", "--all", *words, cwd=ran.folder.parent)
    )
    flows = {flow["client"]: flow for flow in told["flows"]}
    count = 0
    for trial in ran.trials:
        if trial.doubt in CUT_SHORT:
            continue
        flow = flows[trial.client]
        assert flow["reader"] == trial.axes.reader
        assert flow["tls"] == trial.tls
        passive = [r for r in flow["resets"] if r["side"] == "server"]
        active = [r for r in trial.resets if r.side is Side.SERVER]
        assert len(passive) == len(active)
        for seen, known in zip(passive, active, strict=True):
            assert seen["before_fin"] == known.before_fin
            assert known.cause in (seen["cause"], *seen["alternatives"])
            if "high" in (seen["confidence"], known.confidence) and not _by_control(known.evidence):
                assert seen["cause"] == known.cause
            count += 1
    return count


def _by_control(evidence: tuple[str, ...]) -> bool:
    return any(sentence.startswith("the control") for sentence in evidence)


@pytest.mark.packet_socket
@pytest.mark.server("postgres")
def test_both_views_agree_on_postgres(postgres: Postgres, tmp_path: Path) -> None:
    ran = probe(
        at(postgres.hosts[-1], postgres.port),
        *("--profile", "postgres", "--user", postgres.cert_user, "--database", postgres.database),
        *("--cert", str(postgres.cert), "--key", str(postgres.key), "--ca", str(postgres.ca)),
        *("--sequence", "terminate-close-notify", "--sequence", "close-notify-fin"),
        *("--trials", "3", "--keylog", str(tmp_path / "keys")),
        cwd=tmp_path,
    )
    assert agreed(ran) >= 4
    assert agreed(ran, "--keys", str(tmp_path / "keys")) >= 4


@pytest.mark.packet_socket
@pytest.mark.server("nginx")
def test_both_views_agree_on_nginx(nginx_factory: NginxFactory, tmp_path: Path) -> None:
    nginx = nginx_factory(keepalive_timeout="1s", lingering_close="off")
    ran = probe(
        at("127.0.0.1", nginx.port),
        *("--profile", "nginx", "--sequence", "idle-expiry-reply", "--idle-limit", "5"),
        *("--sequence", "close-notify-fin", "--trials", "2"),
        cwd=tmp_path,
    )
    assert agreed(ran) >= 1


@pytest.mark.packet_socket
def test_both_views_agree_on_a_reference_server(tmp_path: Path) -> None:
    async def probed() -> Ran:
        async with running(("rude",)) as ports:
            words = ("--profile", "reference", "--trials", "2", "--keylog", str(tmp_path / "keys"))
            asked = ("--sequence", "terminate-close-notify", "--patience", "1")
            return await trio.to_thread.run_sync(
                lambda: probe(at("127.0.0.1", ports["rude"]), *words, *asked, cwd=tmp_path)
            )

    ran = trio.run(probed)
    assert agreed(ran) >= 2  # the secrets are in the capture already
    told = document(tlsprobe("explain", "out/capture.pcapng", "--json", cwd=tmp_path))
    evidence = " ".join(s for f in told["flows"] for r in f["resets"] for s in r["evidence"])
    assert "close_notify" in evidence
    assert "probably" not in evidence  # with the keys it is known


@pytest.mark.packet_socket
@pytest.mark.server("postgres", "tcpdump")
def test_a_capture_of_all_interfaces_cut_short(postgres: Postgres, tmp_path: Path) -> None:
    """As people take them: ``-i any`` sees loopback twice, ``-s 96`` cuts what TLS said."""
    file = tmp_path / "any.pcap"
    command = ["tcpdump", "-i", "any", "-s", "96", "-U", "-n", "-w", str(file)]
    watched = [*command, "-Z", "root", f"tcp port {postgres.port}"]
    with child(watched, stderr=subprocess.PIPE, text=True) as tcpdump:
        assert tcpdump.stderr is not None
        while "listening" not in (line := tcpdump.stderr.readline()):
            assert line, "tcpdump ended before it began"
        probed = probe(
            at("127.0.0.1", postgres.port),
            *("--profile", "postgres", "--user", postgres.trust_user, "--trials", "2"),
            *("--database", postgres.database, "--sequence", "terminate-close-notify"),
            cwd=tmp_path,
        )
        last = socket.create_connection(("127.0.0.1", postgres.port))
        with last:
            ports = struct.pack("!HH", last.getsockname()[1], postgres.port)
        until(lambda: ports in file.read_bytes())  # and so all that came before it
        tcpdump.send_signal(signal.SIGINT)
        tcpdump.communicate(timeout=GENEROUS_S)
    told = document(tlsprobe("explain", str(file), "--json", "--all", cwd=tmp_path))
    flows = {flow["client"]: flow for flow in told["flows"]}
    for trial in probed.trials:
        seen = [r["cause"] for r in flows[trial.client]["resets"] if r["side"] == "server"]
        known = [r.cause for r in trial.resets if r.side is Side.SERVER]
        assert len(seen) == len(known)
        assert set(seen) <= {"unread-data-at-close", *known}  # it may have closed before the alert


def test_the_verb_needs_no_privilege_and_no_network(tmp_path: Path) -> None:
    code = "import tlsprobe.explain, sys; sys.exit('trio' in sys.modules or 'scapy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
