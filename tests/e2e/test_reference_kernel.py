"""The kernel agrees about each reset of the built-in servers, in time or not."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.e2e.probing import Ran, probe
from tests.e2e.test_postgres import agreements
from tlsprobe.lab import kernel_reasons
from tlsprobe.reference.server import running

pytestmark = [pytest.mark.packet_socket, pytest.mark.kernel_truth]


@pytest.mark.parametrize("server", ["rude", "aborting", "hasty", "half-closing"])
def test_the_kernel_agrees_about_every_reset(server: str, tmp_path: Path) -> None:
    async def probed() -> tuple[Ran, int]:
        async with running((server,)) as ports:
            chapters = ("client-first", "goodbye", "idle", "before-request", "race")
            asked = [word for chapter in chapters for word in ("--sequence", chapter)]
            words = ("--profile", "reference", "--trials", "3", "--idle-limit", "3", *asked)

            def run() -> Ran:
                return probe(f"127.0.0.1:{ports[server]}", *words, cwd=tmp_path)

            return await trio.to_thread.run_sync(run), ports[server]

    with kernel_reasons.watch_resets() as watch:
        ran, port = trio.run(probed)
    assert watch.lost == 0
    assert agreements(ran, watch.resets(), port) >= 8
