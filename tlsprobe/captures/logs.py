"""Lines of logs in a text: counted by kind, and answered with what they show."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tlsprobe.captures.device_log_kinds import HEX_DUMP
from tlsprobe.captures.log_kinds import LogKind
from tlsprobe.captures.log_words import possible_kinds

_LINE = 2000
_EXCERPT = 120
_MOST_SHOWN = 5
_ADDRESS = re.compile(r"\[?(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{0,4}\]?|(?:\d{1,3}\.){3}\d{1,3}")


@dataclass(slots=True)
class Seen:
    """Lines of one kind: how many, where the first stands and what it says, and the other end."""

    kind: LogKind
    count: int
    line: int
    excerpt: str
    peer: tuple[str, str] | None


class Logs:
    """Give it lines that are no packets; memory is bounded by the number of kinds."""

    def __init__(self) -> None:
        self.seen: dict[str, Seen] = {}

    def saw(self, number: int, line: str) -> None:
        """One line, with its number."""
        text = line[:_LINE]
        for kind in possible_kinds(text):
            if (found := kind.pattern.search(text)) is None:
                continue
            known = self.seen.get(kind.name)
            if known is None:
                shown = text.strip()[:_EXCERPT].encode("unicode_escape").decode("ascii")
                self.seen[kind.name] = Seen(kind, 1, number, shown, _peer(found))
            else:
                known.count += 1
                known.peer = known.peer or _peer(found)
            return

    @property
    def counted(self) -> str:
        """How many lines of which kinds, for a note beside packets; empty if there are none.

        The bytes of those packets are no log.
        """
        told = (seen for seen in self.seen.values() if seen.kind is not HEX_DUMP)
        return ", ".join(f"{seen.kind.name} {seen.count}" for seen in told)

    def answer(self) -> str:
        """What the lines show, and what they cannot, a line for each kind."""
        told = []
        for seen in list(self.seen.values())[:_MOST_SHOWN]:
            times = f"{seen.count} lines" if seen.count > 1 else "1 line"
            told.append(
                f"{seen.kind.name} ({times}, the first is line {seen.line}: {seen.excerpt}):"
                f" {seen.kind.shows}. It does not show {seen.kind.hides.removeprefix('nor ')}."
            )
        if len(self.seen) > _MOST_SHOWN:
            told.append(f"{len(self.seen) - _MOST_SHOWN} more kinds are left out.")
        return "\n".join(told)

    def hint(self) -> str:
        """The capture that would show the cause, and the run that provokes it."""
        host, port = next((seen.peer for seen in self.seen.values() if seen.peer), ("HOST", "PORT"))
        return (
            f"capture it: `tcpdump -i any -n -w trace.pcap 'host {host} and port {port}'`, then"
            f" `tlsprobe explain trace.pcap`; or provoke it: `tlsprobe run --target"
            f" {f'[{host}]' if ':' in host else host}:{port}`"
        )


def _peer(found: re.Match[str]) -> tuple[str, str] | None:
    """The other end, where the line names it by an address or a plain name."""
    named = found.groupdict()
    if named.get("peer"):
        host, _, port = named["peer"].rpartition(":")
    elif named.get("host") and named.get("port"):
        host, port = named["host"], named["port"]
    else:
        return None
    host = host.strip("[]")
    plain = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]{0,99}", host) or _ADDRESS.fullmatch(host)
    return (host, port) if plain and int(port) < 1 << 16 else None
