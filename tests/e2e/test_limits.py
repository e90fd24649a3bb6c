"""A real nginx at its limits: so many requests, so old, so long unread."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import NginxFactory
from tests.e2e.probing import Ran, at, probe, results_in
from tlsprobe.model.judgement import Result

pytestmark = [pytest.mark.packet_socket, pytest.mark.server("nginx")]

PASS, INFO, WARN = Result.PASS, Result.INFO, Result.WARN
ASKED = ("limit-requests", "limit-requests-late-send", "limit-stall")


@pytest.fixture(scope="module")
def used_up(nginx_factory: NginxFactory, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Three requests on a connection, and a second for a reader to go on reading."""
    nginx = nginx_factory(keepalive_timeout="60s", keepalive_requests="3", send_timeout="1s")
    place = tmp_path_factory.mktemp("limits")
    profile = place / "profile.toml"
    profile.write_text(PROFILE)
    asked = [word for name in ASKED for word in ("--sequence", name)]
    how = ("--profile", str(profile), "--tls", "1.3", "--trials", "3", *asked)
    return probe(at("127.0.0.1", nginx.port), *how, cwd=place)


PROFILE = """
name = "large"
title = "nginx with a large file"
port = 443
[protocol]
adapter = "http1"
large = "/large"
"""


def test_the_last_response_says_that_it_is_the_last(used_up: Ran) -> None:
    last = used_up.timely("limit-requests")
    assert results_in(last, "LIMIT-ANNOUNCED").keys() <= {PASS}
    assert {line.outcome for line in last} <= {"clean"}
    assert {line.signature for line in last} <= {"D d n f", "D d nf"}


def test_one_request_more_meets_the_end(used_up: Ran) -> None:
    late = used_up.timely("limit-requests-late-send")
    assert results_in(late, "LIMIT-RACE").keys() <= {PASS}
    assert {line.signature for line in late} <= {"D d n f D r", "D d nf D r"}


def test_who_reads_nothing_is_given_up(used_up: Ran) -> None:
    stalled = used_up.timely("limit-stall")
    assert {line.outcome for line in stalled} <= {"data-lost"}
    assert results_in(stalled, "LIMIT-STALL").keys() <= {PASS}
    assert results_in(stalled, "INTEROP-DATA-LOST").keys() <= {INFO}


def test_a_server_without_a_limit_is_no_pass(nginx_factory: NginxFactory, tmp_path: Path) -> None:
    nginx = nginx_factory(keepalive_timeout="60s", keepalive_requests="100000")
    how = ("--profile", "nginx", "--tls", "1.3", "--trials", "1", "--idle-limit", "1")
    ran = probe(at("127.0.0.1", nginx.port), *how, "--sequence", "limit-age", cwd=tmp_path)
    cell = ran.cell("limit-age")
    assert cell.verdict == "inconclusive"
    assert cell.left_out == {"no-limit": 1}
    assert ran.code == 3, "nothing was measured"
