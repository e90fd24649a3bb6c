"""The kernel agrees about each reset of the built-in servers, in time or not."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.e2e.probing import Ran, probe
from tests.e2e.test_postgres import agreements
from tlsprobe.lab import kernel_reasons
from tlsprobe.model.kernel import KernelReset
from tlsprobe.reference.server import running

pytestmark = [pytest.mark.packet_socket, pytest.mark.kernel_truth]

SERVERS = ("rude", "aborting", "hasty", "half-closing")
CHAPTERS = ("client-first", "goodbye", "idle", "before-request", "race")


async def probed(folder: Path) -> dict[str, tuple[Ran, int]]:
    """What each server's run came to, and its port; side by side, since they mostly wait."""
    asked = [word for chapter in CHAPTERS for word in ("--sequence", chapter)]
    words = ("--profile", "reference", "--trials", "3", "--idle-limit", "3", *asked)
    found: dict[str, tuple[Ran, int]] = {}

    async def run(server: str, port: int) -> None:
        place = folder / server
        place.mkdir()
        ran = partial(probe, f"127.0.0.1:{port}", *words, cwd=place)
        found[server] = await trio.to_thread.run_sync(ran), port

    async with running(SERVERS) as ports, trio.open_nursery() as nursery:
        for server in SERVERS:
            nursery.start_soon(run, server, ports[server])
    return found


@pytest.fixture(scope="module")
def ran(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Mapping[str, tuple[Ran, int]], tuple[KernelReset, ...]]:
    """What the runs came to, and what the kernel says of it."""
    with kernel_reasons.watch_resets() as watch:
        found = trio.run(probed, tmp_path_factory.mktemp("probed"))
    assert watch.lost == 0
    return found, watch.resets()


@pytest.mark.parametrize("server", SERVERS)
def test_the_kernel_agrees_about_every_reset(
    server: str, ran: tuple[Mapping[str, tuple[Ran, int]], tuple[KernelReset, ...]]
) -> None:
    runs, told = ran
    assert agreements(runs[server][0], told, runs[server][1]) >= 8
