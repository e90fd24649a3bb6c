"""The wire chapter on real servers: what a network can do to a close, and whose doing it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.e2e.probing import Ran, at, causes_in, probe
from tests.e2e.test_postgres import identity
from tests.patient_servers import patient_servers
from tests.servers import Nginx, Postgres, loopbacks
from tlsprobe.catalogue import find_sequences
from tlsprobe.model.judgement import Outcome, Reader, Result, Verdict
from tlsprobe.model.run import TrialLine

pytestmark = [pytest.mark.root, pytest.mark.packet_socket]

BLAMED = {Verdict.FAIL, Verdict.WARN, Verdict.ERROR}


def sequences(*names: str) -> tuple[str, ...]:
    return tuple(word for name in names for word in ("--sequence", name))


# --- servers that do everything right -------------------------------------------------------------


@pytest.fixture(scope="module")
def ports() -> Iterator[dict[str, int]]:
    with patient_servers("polite", "lingering") as found:
        yield found


@pytest.mark.parametrize("host", loopbacks())
@pytest.mark.parametrize("server", ["polite", "lingering"])
def test_nothing_of_ours_is_blamed_on_a_server_without_fault(
    server: str, host: str, ports: dict[str, int], tmp_path: Path
) -> None:
    asked = ("--profile", "reference", "--trials", "2", *sequences("wire"))
    ran = probe(at(host, ports[server]), *asked, cwd=tmp_path)
    assert len(ran.asked) == 2 * len(find_sequences("wire"))
    assert [c.sequence for c in ran.asked if c.verdict in BLAMED] == []


# --- nginx ----------------------------------------------------------------------------------------

ON_NGINX = (
    *("fin-before-alert", "late-server-fin", "no-room-for-the-alert", "reset-ahead", "reset-exact"),
    *("alert-twice", "alert-damaged", "close-notify-fin"),
)


@pytest.fixture(scope="module", params=loopbacks())
def nginx_run(
    request: pytest.FixtureRequest, nginx: Nginx, tmp_path_factory: pytest.TempPathFactory
) -> Ran:
    return probe(
        at(request.param, nginx.port),
        *("--profile", "nginx", "--trials", "4", "--tls", "1.3", *sequences(*ON_NGINX)),
        cwd=tmp_path_factory.mktemp("nginx-wire"),
    )


def results(lines: Iterable[TrialLine], rule: str) -> set[Result]:
    return {found.result for line in lines for found in line.findings if found.rule == rule}


@pytest.mark.server("nginx")
def test_a_fin_before_the_alert_changes_nothing_for_nginx(nginx_run: Ran) -> None:
    """It ends without an answer, as it does where they come in order."""
    timely = nginx_run.timely("fin-before-alert")
    assert {line.signature for line in timely} <= {"F N f"}
    assert {line.outcome for line in timely} <= {Outcome.NO_CLOSE_NOTIFY}
    cells = {name: nginx_run.cell(name) for name in ("fin-before-alert", "close-notify-fin")}
    assert len({cell.verdict for cell in cells.values()}) == 1 or nginx_run.slow


@pytest.mark.server("nginx")
def test_a_late_fin_is_overtaken_by_the_reset_that_our_answer_draws(nginx_run: Ran) -> None:
    """On the wire the FIN was first; our reader gets ECONNRESET, and never EOF."""
    timely = nginx_run.timely("late-server-fin")
    assert {line.outcome for line in timely} <= {Outcome.RESET_AFTER_FIN}
    assert {line.axes.reader for line in timely} <= {Reader.RESET}
    firsts = {line.resets[0].cause for line in timely}
    assert firsts <= {"data-after-close"}
    assert set(causes_in(timely)) - firsts <= {"closed-already"}  # our FIN behind the alert
    assert not {Result.FAIL, Result.WARN} & {f.result for line in timely for f in line.findings}


@pytest.mark.server("nginx")
def test_no_duty_is_decided_of_a_server_without_room(nginx_run: Ran) -> None:
    timely = nginx_run.timely("no-room-for-the-alert")
    assert results(timely, "TLS13-NOTIFY") == set()
    assert results(timely, "INTEROP-CUT-OFF") <= {Result.INFO}


@pytest.mark.server("nginx")
def test_an_rst_ahead_is_asked_about_and_an_exact_one_obeyed(nginx_run: Ran) -> None:
    """The kernel's doing, so on any server."""
    for name in ("reset-ahead", "reset-exact"):
        assert results(nginx_run.timely(name), "TCP-CHALLENGE") <= {Result.PASS}
    assert {line.outcome for line in nginx_run.timely("reset-exact")} <= {Outcome.CLIENT_RESET}


# --- PostgreSQL -----------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=loopbacks())
def postgres_run(
    request: pytest.FixtureRequest, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Ran:
    return probe(
        at(request.param, postgres.port),
        *identity(postgres),
        *("--trials", "4", "--tls", "1.3", *sequences("goodbye-behind-fin", "goodbye-lost")),
        cwd=tmp_path_factory.mktemp("postgres-wire"),
    )


@pytest.mark.server("postgres")
def test_a_goodbye_behind_alert_and_fin_draws_a_reset_in_place_of_the_fin(
    postgres_run: Ran,
) -> None:
    """The backend acts on Terminate, with the alert unread behind it."""
    timely = postgres_run.timely("goodbye-behind-fin")
    assert {line.outcome for line in timely} <= {Outcome.RESET_BEFORE_FIN}
    assert {line.signature[:9] for line in timely} <= {"N F G n r"}
    assert {line.resets[0].cause for line in timely} <= {"unread-data-at-close"}
