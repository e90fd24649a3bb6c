"""The page of what clients did to a server that ends the connection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tlsprobe.report.blocks import Block, BulletList, Code, Column, Heading, Page, Paragraph, Table


@dataclass(frozen=True, slots=True)
class WatchedClient:
    """One way of using a client, and what came of it.

    ``parties`` names the client and the server; ``endings`` holds how the connection ended, the
    causes of its resets and how often that was seen. Without endings, ``reason`` says why.
    """

    name: str
    text: str
    parties: str = ""
    endings: tuple[tuple[str, str, int], ...] = ()
    last_words: str = ""
    reason: str = ""


def clients_page(
    command: str, day: str, clients: Sequence[WatchedClient], circumstances: str = ""
) -> Page:
    """The whole page; ``circumstances`` is what a reader must know before believing it."""
    return (
        Heading(1, "What clients do to a server that ends the connection"),
        Paragraph(
            (
                Code(command),
                f", {day}. Shown is the first connection of each client: its end, with the short"
                " records just before it. An alert has 24 bytes in TLS 1.3, of Java's 40.",
            )
        ),
        *([Paragraph(circumstances)] if circumstances else ()),
        *_overview([client for client in clients if client.endings]),
        *(block for client in clients for block in _client(client)),
    )


def _overview(clients: Sequence[WatchedClient]) -> Iterator[Block]:
    """Each client in a line: who began the end, and who reset."""
    if clients:
        heads = ("client", "who begins the end", "resets", "the client's last words")
        yield Table(tuple(map(Column, heads)), tuple(map(_line, clients)))


def _line(client: WatchedClient) -> tuple[str, ...]:
    begun: Counter[str] = Counter()
    resets: Counter[str] = Counter()
    for ending, why, count in client.endings:
        begun[ending.partition(" ")[0]] += count
        resets[why] += count
    runs = begun.total()
    told = "; ".join(f"{count}/{runs} {why}" for why, count in resets.most_common())
    first = "; ".join(f"{side} {count}/{runs}" for side, count in begun.most_common())
    return client.name, first, told, client.last_words


def _client(client: WatchedClient) -> Iterator[Block]:
    yield Heading(2, f"{client.name}: {client.text}")
    if not client.endings:
        yield Paragraph(f"unsupported: {client.reason}")
        return
    yield Paragraph(f"Measured with {client.parties}")
    runs = sum(count for _, _, count in client.endings)
    endings = tuple(f"{count} of {runs}: {ending} ({why})" for ending, why, count in client.endings)
    words = (("the client's last words: ", Code(client.last_words)),) if client.last_words else ()
    yield BulletList((*endings, *words))
