"""Ways to end a connection, and what they can be made to depend on: faults are made of both."""

from __future__ import annotations

import trio

from tests.fuzz.faults.peer import Asked, Bad, Seeded
from tlsprobe.model.target import TlsVersion
from tlsprobe.reference.behaviours import BEHAVIOURS, End
from tlsprobe.reference.peer import Occasion

SOON = 0.05
FOREVER = 30.0
ALERT, BYE, PING = 2, 4, 5
"""Bytes of what may come behind an end, inside its record."""


def as_(name: str) -> End:
    """As the reference server of this name ends."""
    return BEHAVIOURS[name].end


polite = as_("polite")


async def rude(peer: Seeded, _: Occasion) -> None:
    await peer.notify()
    await peer.unread(SOON)
    peer.close()


async def abort(peer: Seeded, _: Occasion) -> None:
    await trio.sleep(0.005)
    peer.abort()


async def abort_now(peer: Seeded, _: Occasion) -> None:
    peer.abort()


async def stay(_: Seeded, __: Occasion) -> None:
    await trio.sleep(FOREVER)


async def end_politely(peer: Seeded) -> None:
    """What is left of a polite end behind the alert."""
    peer.fin()
    await peer.linger(2.0)
    peer.close()


def when(asked: Asked, bad: Bad) -> Bad:
    """Bad where it is asked for, and polite everywhere else."""

    async def end(peer: Seeded, occasion: Occasion) -> None:
        await (bad if asked(peer, occasion) else polite)(peer, occasion)

    return end


def behind(wanted: int, bad: Bad) -> Bad:
    """Polite, unless such bytes come behind the client's alert or goodbye, within a moment."""

    async def end(peer: Seeded, occasion: Occasion) -> None:
        await peer.notify()
        if occasion in {Occasion.GOODBYE, Occasion.NOTIFIED} and await peer.behind() == wanted:
            await bad(peer, occasion)
            return
        await end_politely(peer)

    return end


def on(*occasions: Occasion) -> Asked:
    return lambda _, occasion: occasion in occasions


def both(one: Asked, other: Asked) -> Asked:
    return lambda peer, occasion: one(peer, occasion) and other(peer, occasion)


def in_(version: TlsVersion) -> Asked:
    return lambda peer, _: peer.version is version


def one_in(many: int) -> Asked:
    return lambda peer, _: peer.house.luck.random() * many < 1


def one_in_turn(many: int) -> Asked:
    """Every so manyth that is asked about, by the count."""

    def asked(peer: Seeded, _: Occasion) -> bool:
        peer.house.turn += 1
        return peer.house.turn % many == 0

    return asked


def said(word: bytes) -> Asked:
    return lambda peer, _: word in b"".join(peer.words)


def crowd(most: int) -> Asked:
    return lambda peer, _: peer.together > most


def asked(least: int) -> Asked:
    return lambda peer, _: peer.asked >= least


def gap(least: float, most: float) -> Asked:
    return lambda peer, _: least <= peer.gap < most


def large(peer: Seeded, _: Occasion) -> bool:
    return peer.was_large


def half(peer: Seeded, _: Occasion) -> bool:
    return peer.is_half


GOODBYE, NOTIFIED = on(Occasion.GOODBYE), on(Occasion.NOTIFIED)
EOF, IDLE = on(Occasion.EOF), on(Occasion.IDLE)
V12, V13 = in_(TlsVersion.TLS12), in_(TlsVersion.TLS13)
