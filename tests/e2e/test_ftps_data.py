"""The data connections of a real FTP server: which of their ends it takes for whole."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from tests.e2e.probing import Ran, at, probe, results_in
from tests.servers import Pki
from tests.servers_text import TextServer, running_vsftpd
from tlsprobe.drive.route import Patience, Route
from tlsprobe.drive.script import drive
from tlsprobe.language import parse
from tlsprobe.model.judgement import Outcome, Result
from tlsprobe.model.target import Login, TlsIdentity, TlsVersion
from tlsprobe.model.trace import Drive, RemarkKind, Stage
from tlsprobe.protocols.ftps import FtpsDataSettings, ftps_data
from tlsprobe.tls import client_context

pytestmark = pytest.mark.packet_socket

VERSIONS = ("1.2", "1.3")
TRIALS = 2


@pytest.fixture(scope="module")
def server(pki: Pki) -> Iterator[TextServer]:
    with running_vsftpd(pki) as running:
        yield running


def ran(server: TextServer, profile: str, folder: Path, *sequences: str) -> Ran:
    asked = [word for sequence in sequences for word in ("--sequence", sequence)]
    return probe(
        at(server.hosts[-1], server.ports[profile]),
        *("--profile", profile, "--trials", str(TRIALS), "--fail-on", "never", *asked),
        cwd=folder,
    )


def test_vsftpd_takes_an_upload_with_the_alert_alone(server: TextServer, tmp_path: Path) -> None:
    """Its own setting for that, strict_ssl_read_eof, is off: OpenSSL 3 makes a bare FIN an error.

    Nothing is left in the folder, and every packet of every data connection was seen.
    """
    found = ran(server, "ftps-upload", tmp_path, "close-notify-fin", "fin-only")
    assert found.code == 0, found.err
    for tls in VERSIONS:
        timely = found.timely("close-notify-fin", tls)
        assert {trial.outcome for trial in timely} <= {Outcome.CLEAN}
        assert set(results_in(timely, "FTPS-DATA")) <= {Result.PASS}
        bare = found.timely("fin-only", tls)
        assert set(results_in(bare, "FTPS-DATA")) <= {Result.INFO}
        assert {found.cell(s, tls).trials for s in ("close-notify-fin", "fin-only")} == {TRIALS}
    assert found.run.capture.dropped == 0
    assert found.run.capture.packets > 4 * TRIALS * 10
    assert not list((server.log.parent / "files/incoming").iterdir())


def test_vsftpd_ends_a_download_with_an_alert(server: TextServer, tmp_path: Path) -> None:
    found = ran(server, "ftps-download", tmp_path, "close-notify-fin")
    assert found.code == 0, found.err
    for tls in VERSIONS:
        timely = found.timely("close-notify-fin", tls)
        assert {trial.outcome for trial in timely} <= {Outcome.CLEAN}
        assert set(results_in(timely, "FTPS-DATA")) <= {Result.PASS}
        assert set(results_in(timely, "INTEROP-DATA-LOST")) <= {Result.PASS}


@pytest.mark.root
def test_the_path_of_a_data_connection_is_shaped_too(server: TextServer, tmp_path: Path) -> None:
    """It goes to another port than the target's."""
    found = ran(server, "ftps-upload", tmp_path, "fin-before-alert")
    assert found.code == 0, found.err
    cells = [found.cell("fin-before-alert", tls) for tls in VERSIONS]
    assert [cell.trials for cell in cells] == [TRIALS, TRIALS]


# --- one connection each, without a capture ---------------------------------------------------


def driven(server: TextServer, settings: FtpsDataSettings, steps: str) -> Drive:
    where = server.hosts[0], server.ports["ftp"]
    tls = client_context(TlsVersion.TLS13, TlsIdentity(), None, ())
    converse = ftps_data(settings, "localhost", Login())
    route = Route((socket.AF_INET, where), where, tls, converse, Patience(server=20.0))
    return trio.run(drive, replace(route, tickets=0), parse(steps))


def test_what_the_server_refuses_is_told_in_its_words(server: TextServer) -> None:
    found = driven(server, FtpsDataSettings("download", "missing"), "request; drain")
    assert found.failure == "the server refused RETR missing: 550 Failed to open file."


def test_a_data_connection_that_resumes_nothing_is_refused(server: TextServer) -> None:
    """vsftpd insists on the session of the control connection (require_ssl_reuse)."""
    settings = FtpsDataSettings("list", reuse=False)
    found = driven(server, settings, "request; close_notify; fin; drain")
    assert [remark.text[:3] for remark in found.remarks][1:] == ["522"]


def test_the_port_may_be_asked_for_in_the_old_way(server: TextServer) -> None:
    found = driven(server, FtpsDataSettings("list", pasv=True), "request; close_notify; fin; drain")
    assert (found.stage, found.failure) == (Stage.SEQUENCE, None)
    verdicts = [remark.text for remark in found.remarks if remark.kind is RemarkKind.VERDICT]
    assert verdicts == ["226 Directory send OK."]


def test_no_session_of_another_connection_can_be_offered(server: TextServer) -> None:
    found = driven(server, FtpsDataSettings("list"), "request; ticket 1s; fin; drain; resume")
    assert found.failure is not None
    assert "session" in found.failure
