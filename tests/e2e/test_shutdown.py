"""Servers that are told to stop, to drain and to reload with our connections open: real ones."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.children import child
from tests.e2e.probing import Ran, at, probe, results_in, tlsprobe
from tests.servers import GENEROUS_S, Pki, running_nginx
from tlsprobe.model.judgement import Result

pytestmark = [pytest.mark.packet_socket, pytest.mark.server("nginx", "postgres")]

PASS, INFO, WARN = Result.PASS, Result.INFO, Result.WARN
ASKED = ("reload-idle", "graceful-idle", "graceful-mid-response", "graceful-mid-request")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two servers that the lab stops, and starts again, between any two trials."""
    place = tmp_path_factory.mktemp("lab")
    asked = [word for name in (*ASKED, "stop-idle") for word in ("--sequence", name)]
    words = ("--trials", "2", "--tls", "1.3", "--out", "out")
    ran = tlsprobe("lab", "run", "nginx", "postgres", *asked, *words, cwd=place)
    assert ran.code == 0, ran.err
    return ran.folder


def column(lab: Path, name: str) -> Ran:
    return Ran(0, "", "", lab / name)


@pytest.mark.parametrize("name", ["nginx", "nginx-http2", "postgres"])
def test_each_cell_has_an_answer(lab: Path, name: str) -> None:
    """The server was there for every trial, though each had ended it, however busy the machine."""
    run = column(lab, name).run
    assert {cell.sequence for cell in run.cells} == {*ASKED, "stop-idle"}
    assert {(cell.trials, cell.verdict == "error") for cell in run.cells} == {(2, False)}


def test_nginx_drains(lab: Path) -> None:
    nginx = column(lab, "nginx")
    assert nginx.outcomes("graceful-idle").keys() <= {"clean"}
    whole = results_in(nginx.timely("graceful-mid-response"), "STOP-IN-FLIGHT")
    assert whole.keys() <= {PASS}
    waits = results_in(nginx.timely("graceful-mid-request"), "STOP-ENDS")
    assert waits.keys() <= {INFO}


def test_nginx_that_stops_at_once_says_nothing_in_tls(lab: Path) -> None:
    nginx = column(lab, "nginx")
    assert nginx.outcomes("stop-idle").keys() <= {"no-close-notify"}
    ends = results_in(nginx.timely("stop-idle"), "STOP-ENDS")
    assert ends.keys() <= {PASS}


def test_http2_says_goaway(lab: Path) -> None:
    """When it drains; not when it stops at once."""
    nginx = column(lab, "nginx-http2")
    assert results_in(nginx.timely("graceful-idle"), "H2-GOAWAY").keys() <= {PASS}
    assert results_in(nginx.timely("stop-idle"), "H2-GOAWAY").keys() <= {WARN}


def test_postgres_waits_for_its_clients_and_says_why_it_ends(lab: Path) -> None:
    """A smart shutdown waits; a fast one ends with FATAL 57P01, close_notify and FIN."""
    postgres = column(lab, "postgres")
    assert postgres.outcomes("graceful-idle").keys() <= {"open"}
    assert postgres.outcomes("stop-idle").keys() <= {"clean"}
    assert {line.signature for line in postgres.timely("stop-idle")} <= {"d n f", "d nf", "dn f"}
    assert postgres.outcomes("reload-idle").keys() <= {"clean"}


PROFILE = """
name = "huge"
title = "nginx with a large file"
port = 443
[protocol]
adapter = "http1"
large = "/huge"
[signals]
graceful = "QUIT"
"""


@contextmanager
def supervised(folder: Path) -> Iterator[None]:
    """Start nginx again whenever it ends, as a supervisor does."""
    keep, start = folder / "keep", 'while [ -e "$0" ]; do "$@" 2>>"$0"; done'
    keep.touch()
    nginx = ("nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"))
    with child(["sh", "-c", start, str(keep), *nginx]) as process:
        try:
            yield
        finally:
            keep.unlink()
            with suppress(OSError, ValueError):
                subprocess.run(["kill", (folder / "nginx.pid").read_text().strip()], check=False)
            process.wait(GENEROUS_S)


def test_by_hand_with_a_supervisor(pki: Pki, tmp_path: Path) -> None:
    """A response too large for any buffer is cut off by a stop at once, and not by a drain."""
    folder, profile = tmp_path / "nginx", tmp_path / "profile.toml"
    folder.mkdir()
    profile.write_text(PROFILE)
    with running_nginx(folder, pki, {"keepalive_timeout": "60s"}) as nginx:
        (folder / "www" / "huge").touch()
        os.truncate(folder / "www" / "huge", 64 * 2**20)
    with supervised(folder):
        while not (folder / "nginx.pid").exists():
            time.sleep(0.01)
        ran = probe(
            at("127.0.0.1", nginx.port),
            *("--profile", str(profile), "--signal", str(folder / "nginx.pid")),
            *("--sequence", "graceful-mid-response", "--sequence", "stop-mid-response"),
            *("--trials", "2", "--tls", "1.3"),
            cwd=tmp_path,
        )
    cut = ran.timely("stop-mid-response")
    assert len(ran.trials) == 4, ran.err
    assert results_in(cut, "STOP-IN-FLIGHT").keys() <= {INFO}
    assert results_in(cut, "INTEROP-DATA-LOST").keys() <= {INFO}
    assert {line.outcome for line in cut} <= {"data-lost"}
    whole = ran.timely("graceful-mid-response")
    assert results_in(whole, "STOP-IN-FLIGHT").keys() <= {PASS}
    assert {line.outcome for line in whole} <= {"clean"}


def test_a_process_that_nobody_names(tmp_path: Path) -> None:
    ran = tlsprobe("run", "--target", "127.0.0.1:1", "--sequence", "stop-idle", cwd=tmp_path)
    assert ran.code == 2
    assert "nobody says which process" in ran.err
    assert "--signal PID" in ran.err
