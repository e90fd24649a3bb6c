"""HTTP/2, MySQL, LDAP, MQTT and AMQP on real servers, each with a thing that it is known for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import NginxFactory
from tests.e2e.probing import Ran, at, probe, results_in, tlsprobe
from tests.servers import LARGE, Pki, loopbacks
from tests.servers_binary import (
    Server,
    running_mariadb,
    running_mosquitto,
    running_rabbitmq,
    running_slapd,
)
from tlsprobe.lab import kernel_reasons
from tlsprobe.model.judgement import Result

pytestmark = pytest.mark.packet_socket

HOST = loopbacks()[-1]
SEQUENCES = ("close-notify-fin", "terminate", "terminate-close-notify", "server-close-reply")
TRIALS = 4
LOGIN_FROM = "TLSPROBE_TEST_PASSWORD"

Start = Callable[[Path, Pki], AbstractContextManager[Server]]


@dataclass(frozen=True)
class Case:
    """A profile with its server, and how that ends one sequence in every trial."""

    profile: str
    binary: str
    start: Start
    sequence: str
    outcome: str
    mistake: str


CASES = (
    # COM_QUIT is answered with a FIN and no alert, in both versions.
    Case("mysql", "mariadbd", running_mariadb, "terminate", "no-close-notify", "1045: Access"),
    # slapd reads our alert before it closes, so nothing is left unread.
    Case("ldap", "slapd", running_slapd, "terminate-close-notify", "clean", "49 invalidCred"),
    Case("ldaps", "slapd", running_slapd, "terminate-close-notify", "clean", "49 invalidCred"),
    Case("mqtt", "mosquitto", running_mosquitto, "terminate", "clean", "not authorised"),
    # Close-Ok, and then it waits half a minute for the client to close.
    Case("amqp", "rabbitmq-server", running_rabbitmq, "terminate", "open", "403 ACCESS_REFUSED"),
)


@dataclass(frozen=True)
class Probed:
    """A server that has been probed, while it still runs."""

    case: Case
    server: Server
    ran: Ran

    @property
    def target(self) -> str:
        """Where the profile finds it."""
        return at(HOST, port_of(self.case, self.server))


def port_of(case: Case, server: Server) -> int:
    return (server.starttls_port or server.port) if case.profile == "ldap" else server.port


def words_for(case: Case, server: Server, pki: Pki) -> tuple[str, ...]:
    database = ("--database", server.database) if server.database else ()
    login = ("--user", server.user, "--password-env", LOGIN_FROM, *database)
    return ("--profile", case.profile, "--ca", str(pki.ca), "--patience", "2", *login)


@pytest.fixture(
    scope="module",
    params=[pytest.param(c, id=c.profile, marks=pytest.mark.server(c.binary)) for c in CASES],
)
def probed(
    request: pytest.FixtureRequest, pki: Pki, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Probed]:
    """A server of each kind, probed with every ordinary close in both TLS versions."""
    case: Case = request.param
    folder = tmp_path_factory.mktemp(case.profile)
    with case.start(folder, pki) as server:
        ran = probe(
            at(HOST, port_of(case, server)),
            *words_for(case, server, pki),
            *("--trials", str(TRIALS), *asked(*SEQUENCES)),
            cwd=folder,
            env={LOGIN_FROM: server.password},
        )
        yield Probed(case, server, ran)


def asked(*sequences: str) -> tuple[str, ...]:
    return tuple(word for name in sequences for word in ("--sequence", name))


def every_trial_counts(ran: Ran, trials: int) -> None:
    """Each connection came to its sequence, was captured whole, and did what it was told."""
    assert ran.code in {0, 1}, ran.err
    assert ran.run.capture.dropped == 0
    for name in SEQUENCES:
        for tls in ("1.2", "1.3"):
            cell, timely = ran.cell(name, tls), ran.timely(name, tls)
            assert cell.trials == trials, cell
            assert cell.path_alive is True or (cell.path_alive is None and ran.slow), cell
            assert [line for line in timely if line.failure or not line.conclusive] == []
            assert set(results_in(timely, "SELF-NOTIFY")) <= {Result.PASS}, cell


def test_every_trial_counts(probed: Probed) -> None:
    every_trial_counts(probed.ran, TRIALS)


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_the_server_closes_as_it_is_known_to(probed: Probed, tls: str) -> None:
    assert set(probed.ran.outcomes(probed.case.sequence, tls)) <= {probed.case.outcome}


def test_a_wrong_password_is_told_with_the_mend(probed: Probed, pki: Pki, tmp_path: Path) -> None:
    ran = tlsprobe(
        *("run", "--target", probed.target, *words_for(probed.case, probed.server, pki)),
        *asked("terminate"),
        cwd=tmp_path,
        env={LOGIN_FROM: "wrong horse"},
    )
    assert (ran.code, ran.out) == (3, ""), ran
    assert probed.case.mistake in ran.err
    assert "hint: " in ran.err
    assert "--password-env" in ran.err
    assert "horse" not in ran.err


@pytest.mark.kernel_truth
@pytest.mark.server("rabbitmq-server")
@pytest.mark.parametrize("probed", CASES[-1:], ids=["amqp"], indirect=True)
def test_rabbitmq_resets_because_it_lingers_for_no_time(
    probed: Probed, pki: Pki, tmp_path: Path
) -> None:
    """Linger 0 is its default; the kernel's word for it is not the one for unread data."""
    with kernel_reasons.watch_resets() as watch:
        ran = probe(
            probed.target,
            *words_for(probed.case, probed.server, pki),
            *asked("close-notify-only"),
            cwd=tmp_path,
            env={LOGIN_FROM: probed.server.password},
        )
    server = (HOST, probed.server.port)
    timely = [line for tls in ("1.2", "1.3") for line in ran.timely("close-notify-only", tls)]
    assert {line.outcome for line in timely} <= {"reset-before-fin"}
    for line in timely:
        host, _, port = line.client.rpartition(":")
        first, *later = [
            reset.reason
            for reset in watch.resets()
            if reset.belongs_to((host.strip("[]"), int(port)), server)
            and reset.side(server) == "server"
        ]
        assert first == "TCP_STATE"
        # Where the loopback lags, our acknowledgement of its alert crosses the RST, and what it
        # then finds is the listener.
        assert set(later) <= {"TCP_FLAGS"}


# --- HTTP/2: nginx announces its own end, and takes no notice of ours -----------------------------


@pytest.fixture(scope="module")
def http2(nginx_factory: NginxFactory, pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The same closes of an nginx that ends idle connections after a second, with 3 MiB each."""
    folder = tmp_path_factory.mktemp("http2")
    server = nginx_factory(listen="ssl http2")
    profile = folder / "profile.toml"
    about = f'name = "large"\ntitle = "{len(LARGE)} bytes"\nport = 443\n'
    profile.write_text(f'{about}[protocol]\nadapter = "http2"\npath = "/large"\n')
    return probe(
        at(HOST, server.port),
        *("--profile", str(profile), "--ca", str(pki.ca), "--trials", str(TRIALS)),
        *asked(*SEQUENCES),
        cwd=folder,
    )


@pytest.mark.server("nginx")
def test_every_trial_of_http2_counts(http2: Ran) -> None:
    every_trial_counts(http2, TRIALS)


@pytest.mark.server("nginx")
@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_our_goaway_is_followed_by_its_own_at_the_idle_timeout(http2: Ran, tls: str) -> None:
    timely = http2.timely("terminate", tls)
    assert {trial.outcome for trial in timely} <= {"clean"}
    assert {trial.signature.replace(" ", "") for trial in timely} <= {"Gdnf"}
    # The timer counts from the response: where our goodbye came late, less of it is left.
    took = [trial.timing_us["goodbye_to_end"] for trial in timely]
    assert max(took, default=1e6) > 0.5e6 or http2.slow


@pytest.mark.server("nginx")
@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_http2_changes_nothing_about_the_missing_alert(http2: Ran, tls: str) -> None:
    assert set(http2.outcomes("close-notify-fin", tls)) <= {"no-close-notify"}


@pytest.mark.server("nginx")
def test_a_server_that_takes_no_http2_is_told_with_the_mend(
    nginx_factory: NginxFactory, tmp_path: Path
) -> None:
    target = at(HOST, nginx_factory().port)
    ran = tlsprobe("run", "--target", target, "--profile", "http2", cwd=tmp_path)
    assert ran.code == 3
    assert "error: " in ran.err
    assert "hint: " in ran.err
    assert "Traceback" not in ran.err
