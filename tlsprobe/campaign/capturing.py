"""The capture that goes with a campaign, as its settings ask for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from tlsprobe.campaign.settings import Settings
from tlsprobe.sniff.capture import Capture, open_capture


@asynccontextmanager
async def capturing(
    settings: Settings, host: str, port: int, warned: Callable[[str], None]
) -> AsyncIterator[Capture]:
    """A capture of what this machine and ``host`` say; ``warned`` is told what it lacks.

    Raises CannotMeasure and UsageError as `open_capture` does.
    """
    async with open_capture(
        settings.capture,
        host,
        port,
        require=settings.require_capture,
        interface=settings.interface,
        pcapng=settings.pcapng,
        namespace=settings.namespace,
    ) as capture:
        if capture.warning:
            warned(capture.warning)
        yield capture
