"""How often the fast path catches nginx between its close_notify and its close.

Both answer the same server's alert at its idle expiry, ten connections a round, in one run. The
plain way answers when the event loop has read the alert; the fast path watches the sockets and
sends a record that it encrypted beforehand. ``make bench`` prints it; nothing is asserted.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable

import pytest
import trio

from tests.servers import Nginx
from tlsprobe.drive.race import Round
from tlsprobe.drive.script import Patience, Route, drive
from tlsprobe.judge.race import wilson
from tlsprobe.language import parse
from tlsprobe.model.target import Login, TlsIdentity, TlsVersion
from tlsprobe.model.trace import Drive, EventKind
from tlsprobe.profiles import load_profile
from tlsprobe.protocols import make_conversation
from tlsprobe.tls import client_context

A_ROUND = 10
FAST_ROUNDS, PLAIN_ROUNDS = 20, 120

_FAST = parse("request; answer; drain")
_PLAIN = parse("request; await close_notify idle; close_notify; drain")


def route_to(server: Nginx) -> Route:
    profile = load_profile("nginx")
    converse = make_conversation(profile, "127.0.0.1", Login(), server.port)
    context = client_context(TlsVersion.TLS13, TlsIdentity(), None, ())
    where = ("127.0.0.1", server.port)
    return Route((socket.AF_INET, where), where, context, converse, Patience(5.0, 5.0))


async def fast(route: Route) -> list[Drive]:
    found, _ = await Round(A_ROUND).drive(route, _FAST)
    return found


async def plain(route: Route) -> list[Drive]:
    found: list[Drive] = []

    async def one() -> None:
        found.append(await drive(route, _PLAIN))

    async with trio.open_nursery() as nursery:
        for _ in range(A_ROUND):
            nursery.start_soon(one)
    return found


async def many(
    run: Callable[[Route], Awaitable[list[Drive]]], route: Route, rounds: int
) -> tuple[int, int]:
    """How many connections were reset before any FIN, and of how many."""
    found = [one for _ in range(rounds) for one in await run(route)]
    return sum(one.did(EventKind.RESET) is not None for one in found), len(found)


@pytest.mark.server("nginx")
def test_fast_path_beside_the_plain_way(nginx: Nginx, capsys: pytest.CaptureFixture[str]) -> None:
    route = route_to(nginx)
    lines = []
    shares = []
    for name, run, rounds in (("plain", plain, PLAIN_ROUNDS), ("fast", fast, FAST_ROUNDS)):
        hits, count = trio.run(many, run, route, rounds)
        low, high = wilson(hits, count)
        shares.append(hits / count)
        lines.append(
            f"{name:5} {hits:4} of {count:5} reset: {100 * hits / count:5.2f} %"
            f" (95 %: {100 * low:.2f} to {100 * high:.2f} %)"
        )
    if shares[0]:
        lines.append(f"the fast path catches it {shares[1] / shares[0]:.0f} times as often")
    with capsys.disabled():
        print("\n" + "\n".join(lines))
