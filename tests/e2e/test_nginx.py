"""A real nginx: idle expiry, the answer to it, and the alert that it never sends."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import NginxFactory
from tests.e2e.probing import Ran, at, causes_in, fell_as_they_are_told, probe, results_in
from tests.e2e.test_postgres import agreements
from tests.servers import Nginx, loopbacks
from tlsprobe.lab import kernel_reasons
from tlsprobe.model.judgement import Result
from tlsprobe.model.trace import Side

pytestmark = [pytest.mark.packet_socket, pytest.mark.server("nginx"), pytest.mark.alone]

SEQUENCES = ("idle-expiry", "idle-expiry-reply", "close-notify-fin", "fin-only", "half-close")


@pytest.fixture(scope="module", params=loopbacks())
def closes(
    request: pytest.FixtureRequest, nginx: Nginx, tmp_path_factory: pytest.TempPathFactory
) -> Ran:
    """Idle and client-first closes in both versions, over IPv4 and IPv6."""
    asked = [word for name in SEQUENCES for word in ("--sequence", name)]
    return probe(
        at(request.param, nginx.port),
        *("--profile", "nginx", "--idle-limit", "4", "--trials", "6", *asked),
        cwd=tmp_path_factory.mktemp("closes"),
    )


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_an_idle_connection_ends_near_a_second(closes: Ran, tls: str) -> None:
    """Later where nginx is slow to notice; sooner where it was slow to answer."""
    timely = closes.timely("idle-expiry", tls)
    assert {trial.outcome for trial in timely} <= {"clean"}
    assert {trial.signature for trial in timely} <= {"n f", "nf"}
    took = [trial.timing_us["idle_to_end"] for trial in timely]
    assert max(took, default=1e6) > 0.9e6 or closes.slow
    idle = closes.run.idle
    if idle is None or idle.timeout_s is None or idle.advice_s is None:
        assert closes.slow
    else:
        assert idle.advice_s < idle.timeout_s


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_answering_the_expiry_draws_a_reset_after_the_fin(closes: Ran, tls: str) -> None:
    """Our answer comes after nginx has closed, or before it (a race), if nginx is stopped there."""
    timely = closes.timely("idle-expiry-reply", tls)
    fell_as_they_are_told(timely)
    after = [trial for trial in timely if trial.outcome == "reset-after-fin"]
    assert not any(reset.side is Side.CLIENT for trial in timely for reset in trial.resets)
    cell = closes.cell("idle-expiry-reply", tls)
    if len(timely) == cell.trials:
        assert cell.verdict == ("info" if after == timely else "warn")


@pytest.mark.parametrize(("tls", "rule"), [("1.2", "TLS12-ANSWER"), ("1.3", "TLS13-NOTIFY")])
def test_our_close_notify_is_never_answered(closes: Ran, tls: str, rule: str) -> None:
    timely = closes.timely("close-notify-fin", tls)
    assert {trial.outcome for trial in timely} <= {"no-close-notify"}
    assert set(results_in(timely, rule)) <= {Result.FAIL}
    if timely:
        assert closes.cell("close-notify-fin", tls).verdict == "fail"


def test_the_exit_code_says_that_a_must_was_broken(closes: Ran) -> None:
    assert closes.code == 1


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_the_response_owed_at_half_close_arrives(closes: Ran, tls: str) -> None:
    timely = closes.timely("half-close", tls)
    assert set(results_in(timely, "INTEROP-DATA-LOST")) <= {Result.PASS}


def test_every_trial_found_its_own_packets(closes: Ran) -> None:
    assert closes.run.capture.dropped == 0
    assert all(trial.conclusive for trial in closes.all_timely)
    asked = [trial for trial in closes.trials if trial.sequence in SEQUENCES]
    assert len({trial.client for trial in asked}) == len(asked) == len(SEQUENCES) * 2 * 6


def test_a_version_that_the_server_refuses_is_unsupported(
    nginx_factory: NginxFactory, tmp_path: Path
) -> None:
    server = nginx_factory(ssl_protocols="TLSv1.2")
    ran = probe(at("127.0.0.1", server.port), "--sequence", "fin-only", cwd=tmp_path)
    cell = ran.cell("fin-only", "1.3")
    assert (cell.verdict, cell.trials) == ("unsupported", 0)
    assert cell.reason is not None and "protocol_version" in cell.reason
    assert ran.cell("fin-only", "1.2").trials == 5


def test_lingering_close_cures_the_reset(nginx_factory: NginxFactory, tmp_path: Path) -> None:
    """The remedy that the findings name, tried: the goodbye draws no reset any more."""
    server = nginx_factory(lingering_close="always")
    asked = ("--profile", "nginx", "--sequence", "server-close-reply")
    ran = probe(at("127.0.0.1", server.port), *asked, cwd=tmp_path)
    assert causes_in(ran.timely("server-close-reply")) == {}


def test_a_request_in_the_first_flight_is_taken(
    nginx_factory: NginxFactory, tmp_path: Path
) -> None:
    server = nginx_factory(ssl_early_data="on")
    names = ("early-request-close-notify", "early-close-notify", "early-fin")
    asked = [word for name in names for word in ("--sequence", name)]
    ran = probe(at("127.0.0.1", server.port), "--profile", "nginx", *asked, cwd=tmp_path)
    timely = [trial for name in names for trial in ran.timely(name)]
    assert set(results_in(timely, "TLS13-EARLY")) <= {Result.PASS}
    assert set(results_in(timely, "INTEROP-DATA-LOST")) <= {Result.PASS}


@pytest.mark.kernel_truth
def test_the_kernel_agrees_about_every_reset(nginx: Nginx, tmp_path: Path) -> None:
    with kernel_reasons.watch_resets() as watch:
        ran = probe(
            at("127.0.0.1", nginx.port),
            *("--profile", "nginx", "--idle-limit", "3", "--trials", "5"),
            *("--sequence", "client-first", "--sequence", "goodbye", "--sequence", "idle"),
            *("--sequence", "race"),
            cwd=tmp_path,
        )
    assert watch.lost == 0
    assert agreements(ran, watch.resets(), nginx.port) >= 20
