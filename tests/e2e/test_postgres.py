"""The case that tlsprobe grew out of, on a real PostgreSQL that asks for client certificates."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import pytest
import trio

from tests.e2e.probing import SPOILED, Ran, at, causes_in, probe
from tests.servers import GENEROUS_S, Postgres, loopbacks
from tlsprobe.flows.connection import Flow
from tlsprobe.judge.causes import resets_of
from tlsprobe.lab import kernel_reasons
from tlsprobe.model.causes import Cause
from tlsprobe.model.judgement import Confidence, Reader
from tlsprobe.model.kernel import KernelReset
from tlsprobe.model.trace import Drive, Side, Stage, Trace
from tlsprobe.sniff import capture as sniffer

pytestmark = [pytest.mark.packet_socket, pytest.mark.server("postgres")]

SAME_NS = 5_000_000_000
"""How far apart the kernel's word and its packet may be: a machine may be stopped in between."""


def identity(server: Postgres) -> tuple[str, ...]:
    return (
        *("--profile", "postgres", "--user", server.cert_user, "--database", server.database),
        *("--cert", str(server.cert), "--key", str(server.key), "--ca", str(server.ca)),
    )


@pytest.fixture(scope="module", params=loopbacks())
def goodbyes(
    request: pytest.FixtureRequest,
    postgres: Postgres,
    tmp_path_factory: pytest.TempPathFactory,
) -> Ran:
    """Both goodbyes, 20 trials each in both versions, over IPv4 and IPv6; they warn: code 1."""
    return probe(
        at(request.param, postgres.port),
        *identity(postgres),
        *("--sequence", "terminate", "--sequence", "terminate-close-notify", "--trials", "20"),
        cwd=tmp_path_factory.mktemp("goodbyes"),
    )


def test_the_alert_behind_the_goodbye_is_left_unread(goodbyes: Ran) -> None:
    assert goodbyes.code == 1, goodbyes.err
    timely = goodbyes.timely("terminate-close-notify")
    assert len(timely) >= 10  # the alert leaves right behind the goodbye: hardly ever late
    assert sum(trial.outcome == "reset-before-fin" for trial in timely) >= len(timely) - 1
    assert causes_in(timely)["unread-data-at-close"] >= len(timely) - 1
    assert sum(trial.axes.reader is Reader.RESET for trial in timely) >= len(timely) - 1
    cell = goodbyes.cell("terminate-close-notify")
    assert cell.resets.client.before_fin == 0
    assert cell.verdict == "warn"
    assert next(iter(cell.signatures)) == "G N n r"


def test_the_control_settles_the_cause(goodbyes: Ran) -> None:
    why = next(w for w in goodbyes.cell("terminate-close-notify").why if "unread" in w.cause)
    assert why.confidence is Confidence.HIGH
    assert any("the control 'terminate'" in sentence for sentence in why.evidence)
    assert any("Terminate" in s or "goodbye" in s for s in why.remedy)


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_the_goodbye_alone_is_never_reset(goodbyes: Ran, tls: str) -> None:
    timely = goodbyes.timely("terminate", tls)
    assert {trial.outcome for trial in timely} <= {"clean"}
    assert {trial.signature for trial in timely} <= {"G n f", "G nf"}
    assert causes_in(timely) == {}
    cell = goodbyes.cell("terminate", tls)
    assert cell.verdict == "pass" or cell.left_out.keys() & SPOILED, cell


def test_what_was_seen_and_why_is_told_on_one_screen(goodbyes: Ran) -> None:
    for words in (
        "INTEROP-RESET-BEFORE-FIN",
        "unread-data-at-close (confidence high",
        "RST with ACK",
        "close_notify, ",
        "ECONNRESET",
    ):
        assert words in goodbyes.out
    assert max(map(len, goodbyes.out.splitlines())) <= 80


def test_nothing_was_lost(goodbyes: Ran) -> None:
    run = goodbyes.run
    assert (run.capture.backend, run.capture.dropped) == ("packet", 0), run.notes
    assert sum(cell.trials for cell in goodbyes.asked) == 80
    assert len(goodbyes.trials) == sum(cell.trials for cell in run.cells)
    assert [trial for trial in goodbyes.all_timely if not trial.conclusive] == [], run.notes


@pytest.mark.kernel_truth
def test_the_kernel_agrees_about_every_reset(postgres: Postgres, tmp_path: Path) -> None:
    with kernel_reasons.watch_resets() as watch:
        ran = probe(
            at("127.0.0.1", postgres.port),
            *identity(postgres),
            *("--trials", "10", "--sequence", "terminate-close-notify"),
            *("--sequence", "terminate-close-notify-fin", "--sequence", "server-close-reply"),
            cwd=tmp_path,
        )
    assert watch.lost == 0
    assert agreements(ran, watch.resets(), postgres.port) >= 20


def agreements(ran: Ran, told: tuple[KernelReset, ...], port: int) -> int:
    """How many of the server's RSTs the kernel confirms; any that it does not is a failure.

    Held against it are the causes of the run document, after every control: each RST is one that
    the kernel sent at that time, for a cause that its cell names. What the cell is not sure of may
    be one of the alternatives that the reset names.
    """
    cells = {(cell.sequence, cell.tls): cell for cell in ran.run.cells}
    confirmed = 0
    for trial in ran.trials:
        host, _, client_port = trial.client.rpartition(":")
        client, server = (host.strip("[]"), int(client_port)), (host.strip("[]"), port)
        kernels = [k for k in told if k.belongs_to(client, server) and k.side(server) == "server"]
        ours = [reset for reset in trial.resets if reset.side is Side.SERVER]
        cell = cells[trial.sequence, trial.tls]
        sure = all(why.confidence is Confidence.HIGH for why in cell.why if why.side == "server")
        for reset in ours:  # the port may have had other connections before and after
            kernel = min(kernels, key=lambda k: abs(k.time_ns - reset.time_ns))
            assert abs(kernel.time_ns - reset.time_ns) < SAME_NS, (trial, kernel)
            named = [c for c in Cause if c in cell.causes]
            named += () if sure else reset.alternatives
            agreed = (kernel_reasons.agrees(c, kernel.reason, kernel.state) for c in named)
            assert any(agreed), (trial, kernel, named)
            confirmed += 1
    return confirmed


@pytest.mark.kernel_truth
def test_psql_resets_from_the_client_side(postgres: Postgres, tmp_path: Path) -> None:
    """psql says goodbye, notifies and closes at once; the server's alert finds nobody.

    On a busy machine the server may come first, and then resets itself; never mixed up.
    """
    with kernel_reasons.watch_resets() as watch:
        traces = trio.run(observe_psql, postgres, tmp_path, 10)
    assert len(traces) == 10
    sides = Counter(same_side(trace, watch.resets()) for trace in traces)
    assert sides.total() == 10
    assert sides[Side.CLIENT] >= 1, sides


def same_side(trace: Trace, told: tuple[KernelReset, ...]) -> Side:
    """Who reset first, by packets and by the kernel, who must agree; about the cause as well."""
    first = resets_of(trace)[0]
    client, server = trace.drive.client, trace.drive.server
    assert client is not None
    kernel = next(k for k in told if k.belongs_to(client, server))
    assert first.side is kernel.side(server)
    assert kernel_reasons.agrees(first.cause, kernel.reason, kernel.state), (first, kernel)
    return first.side


async def observe_psql(server: Postgres, folder: Path, times: int) -> list[Trace]:
    """The traces of ``times`` psql sessions, as the sniffer sees them.

    psql does not say which port it will come from, so everyone is expected.
    """
    target = ("127.0.0.1", server.port)
    capture_file = folder / "psql.pcapng"
    async with sniffer.open_capture(
        "packet", *target, require=True, pcapng=capture_file
    ) as capture:
        capture.expect_everyone()
        for _ in range(times):
            await trio.to_thread.run_sync(run_psql, server)
        with trio.fail_after(GENEROUS_S):
            while is_connected(server.port):
                await trio.sleep(0.05)  # the server's last word comes after psql has gone
        await capture.settle()
        return [passive(client, target, flow) for client, flow in capture.take_everyone()]


def is_connected(port: int) -> bool:
    """Whether the kernel still has a connection of the server that somebody may speak on."""
    rows = (row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:])
    states = [state for _, local, _, state, *_ in rows if local.endswith(f":{port:04X}")]
    return not set(states) <= {"06", "0A"}  # TIME_WAIT, LISTEN


def run_psql(server: Postgres) -> None:
    where = f"host=127.0.0.1 port={server.port} dbname={server.database} user={server.cert_user}"
    tls = f"sslmode=verify-full sslrootcert={server.ca} sslcert={server.cert} sslkey={server.key}"
    command = [str(server.psql), "-X", "-c", "select 1", f"{where} {tls}"]
    subprocess.run(command, check=True, capture_output=True, timeout=GENEROUS_S)


def passive(client: tuple[str, int], server: tuple[str, int], flow: Flow) -> Trace:
    """A trace that nobody drove: what packets alone tell."""
    drive = Drive(client, server, Stage.SEQUENCE, records=(), events=())
    return Trace(drive, flow.segments, flow.coverage, "postgres")
