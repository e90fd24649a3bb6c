"""The capture that goes with a campaign, as its settings ask for it: its own, or a shared one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from tlsprobe.campaign.settings import Settings
from tlsprobe.sniff.capture import Capture, open_capture
from tlsprobe.sniff.shared import SharedCaptures

Capturing = Callable[
    [Settings, str, int | None, Callable[[str], None]], AbstractAsyncContextManager[Capture]
]
"""How a campaign comes by its capture: `capturing`, or one that others share."""


@asynccontextmanager
async def capturing(
    settings: Settings,
    host: str,
    port: int | None,
    warned: Callable[[str], None],
    led_to: Collection[str] = (),
) -> AsyncIterator[Capture]:
    """A capture of what this machine and ``host`` say; ``warned`` is told what it lacks.

    ``port`` None: over all ports, where the server names a new one each time. ``led_to`` are the
    addresses of the servers that NAT on this machine takes the connections to.

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
        led_to=led_to if port is not None else (),
        ours=settings.ports,
    ) as capture:
        if capture.warning:
            warned(capture.warning)
        yield capture


def sharing(shared: SharedCaptures) -> Capturing:
    """The same, with the sniffers that all targets of this process share."""

    @asynccontextmanager
    async def captured(
        settings: Settings, host: str, port: int | None, warned: Callable[[str], None]
    ) -> AsyncIterator[Capture]:
        if port is None:  # a shared sniffer tells servers apart by their ports
            async with capturing(settings, host, port, warned) as capture:
                yield capture
            return
        async with shared.capture(
            settings.capture,
            host,
            port,
            require=settings.require_capture,
            pcapng=settings.pcapng,
        ) as capture:
            if capture.warning:
                warned(capture.warning)
            yield capture

    return captured
