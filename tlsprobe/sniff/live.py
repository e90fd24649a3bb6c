"""Frames of whoever talks, as they come: what `explain --live` reads in place of a file.

async with watching("auto", "lo", None, 5432, sink) as watch:
    ...                       # the sink is given every frame, on this thread
watch.dropped                 # final: the tail is drained, and the counter read
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tlsprobe.packets.packet import host_text
from tlsprobe.sniff.backends import Backend, Sink, Where
from tlsprobe.sniff.capture import beside, candidates_for, described, first_that_works, unavailable


@dataclass(slots=True)
class Watch:
    """The wire of an interface. ``warning`` says why it is seen less well than it could be."""

    where: Where
    warning: str | None
    _backend: Backend

    @property
    def dropped(self) -> int | None:
        """Frames that the kernel dropped, None if nobody counts them. Final when it has ended."""
        return self._backend.dropped

    @property
    def broken(self) -> str | None:
        """Why nothing is captured any more."""
        return self._backend.broken

    async def settle(self) -> None:
        """Returns when every packet that was on the wire before the call has been filed."""
        await self._backend.settle()


@asynccontextmanager
async def watching(
    choice: str, interface: str, address: bytes | None, port: int | None, sink: Sink
) -> AsyncIterator[Watch]:
    """Captures the TCP of an address and a port, None being any, for as long as the body lasts.

    ``sink`` is given every frame, on this thread. ``choice`` is one of
    `tlsprobe.sniff.capture.CHOICES` but ``none``. Raises CannotMeasure when
    nothing can be captured, UsageError for an interface that does not exist.
    """
    where = Where(described(interface), None if address is None else host_text(address), port)
    backend, reasons = await first_that_works(candidates_for(choice), where, sink)
    if backend is None:
        raise unavailable(choice, reasons)
    why = "; ".join(reasons)
    warning = f"captured with {backend.name} instead of a packet socket ({why})" if why else None
    try:
        async with beside(backend, sink):
            yield Watch(where, warning, backend)
    finally:
        await backend.reap()
