"""``tlsprobe demo``: the built-in servers, side by side, each with a results folder."""

from __future__ import annotations

from dataclasses import replace

import trio

from tlsprobe.campaign.one_target import Job, probe
from tlsprobe.campaign.pace import interruptible
from tlsprobe.campaign.progress import Progress
from tlsprobe.campaign.settings import DemoSettings, Settings
from tlsprobe.catalogue import catalogue
from tlsprobe.drive.script import Patience
from tlsprobe.model.judgement import Outcome
from tlsprobe.model.run import Run
from tlsprobe.model.target import Login, Target
from tlsprobe.profiles import load_profile
from tlsprobe.protocols import make_conversation
from tlsprobe.reference.known import KNOWN
from tlsprobe.reference.server import running

HOST = "127.0.0.1"
PATIENCE = Patience(server=20.0, idle=20.0, answer=20.0)
"""Long, since all that is waited for comes: these servers are near, and idle for a second."""

IN_VAIN = replace(PATIENCE, server=0.8, idle=2.0)
"""Short, for the server that never ends a connection."""

SEQUENCES = (
    "close-notify-fin",
    "close-notify-fin-coalesced",
    "close-notify-await",
    "close-notify-only",
    "fin-only",
    "abort",
    "half-close",
    "terminate",
    "terminate-close-notify",
    "terminate-close-notify-fin",
    "idle-expiry",
    "idle-expiry-reply",
    "server-close-reply",
)
"""The closes that distinguish the built-in servers; the whole catalogue would take minutes."""

SIDE_BY_SIDE = 9
"""How many servers are probed at the same time, each with its own sniffer."""


async def probe_servers(settings: DemoSettings, progress: Progress) -> list[Run]:
    """Start the servers, probe them, and write a folder for each. Raises TlsprobeError."""
    names, runs = settings.servers, dict[str, Run]()
    side_by_side = trio.CapacityLimiter(SIDE_BY_SIDE)
    async with running(names) as ports, interruptible(progress.note) as stop:

        async def one(name: str) -> None:
            async with side_by_side:
                if not stop.is_set():
                    runs[name] = await probe(_job(name, ports[name], settings), progress, stop)

        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(one, name)
    return [runs[name] for name in names if name in runs]


def _job(name: str, port: int, settings: DemoSettings) -> Job:
    profile = load_profile("reference")
    patience = IN_VAIN if Outcome.OPEN in KNOWN[name].shows else PATIENCE
    each = Settings(trials=settings.trials, patience=patience, concurrency=32, idle_s=1.0)
    return Job(
        target=Target(name, HOST, port, profile.name, profile.protocol),
        converse=make_conversation(profile, HOST, Login(), port),
        sequences=tuple(catalogue()[name].sequence for name in SEQUENCES),
        settings=each,
        folder=settings.folder / name,
        typed=settings.typed,
    )
