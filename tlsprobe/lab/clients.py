"""What real clients do to a server that closes first: psql, curl and pools, watched from outside.

A scenario is a command, what is typed into it and when, and a server of the lab. tlsprobe does not
drive these connections and cannot read them: all that can be said is who ended what, in packets.

A driver's pool is a small program beside the profile of its server, in ``drivers/``, with a profile
that says how to get it and start it.
"""

from __future__ import annotations

import os
import select
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from subprocess import PIPE, STDOUT, Popen, TimeoutExpired, run

import trio

from tlsprobe.errors import CannotMeasure
from tlsprobe.flows.connection import Flow
from tlsprobe.lab.availability import Presence, availability, find_program, lab_of, tools_of
from tlsprobe.lab.commands import SEARCHED
from tlsprobe.lab.vendor import Started, versions
from tlsprobe.lab.workspace import fill_all
from tlsprobe.model.judgement import Reset
from tlsprobe.model.profile import Profile
from tlsprobe.model.trace import Drive, Segment, Stage, Trace
from tlsprobe.profiles import load_profile
from tlsprobe.sniff import capture as sniffer

ENDS_WITHIN_S = 30.0
SETTLES_S = 0.3
"""Seconds after a client's end in which the server's last word may still come."""

DRIVERS = "drivers"
"""The folder beside a server's profile that holds the drivers whose pools are watched."""

SHORT = 43
"""Bytes that a goodbye or an alert has at most, as TLS records of a segment of their own.

PostgreSQL's Terminate has 27 of them, and 43 from Java, which pads its records.
"""

CURL = ("curl", "--silent", "--show-error", "--http1.1", "--insecure", "--output", "/dev/null")
PSQL = ("psql", "--no-psqlrc", "--quiet", "--tuples-only")
PSQL_TO = "host={host} port={port} user=postgres dbname=postgres sslmode=require"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One way of using a client. ``{host}`` and ``{port}`` in the command are the server's.

    ``typed`` are lines for its standard input, each so many seconds after the client answered the
    one before; ``package`` brings the program. Of a ``driver``, the command is what comes behind
    the words that its profile starts it with.
    """

    name: str
    vendor: str
    text: str
    command: tuple[str, ...]
    typed: tuple[tuple[float, str], ...] = ()
    package: str = ""
    driver: str = ""

    @property
    def profile(self) -> Profile | None:
        """The driver's profile, which says how to get it and start it."""
        if not self.driver:
            return None
        return load_profile(str(lab_of(load_profile(self.vendor)).folder / DRIVERS / self.driver))


PAUSE = "3.5"
"""Seconds for which a pool has nothing to do: longer than the server lets a session be idle."""


def _pool(driver: str, use: str, text: str, pause: str = PAUSE) -> Scenario:
    """A driver's pool with settings that its program knows by this name."""
    what = "done" if pause == "0" else use
    return Scenario(f"{driver}-{what}", "postgres", text, (pause, use), driver=driver)


SCENARIOS = (
    Scenario(
        "curl-done",
        "nginx",
        "curl fetches a page and closes",
        (*CURL, "https://{host}:{port}/"),
        package="curl",
    ),
    Scenario(
        "curl-idle",
        "nginx",
        "curl keeps its connection for a second page, and the server's idle timeout comes first",
        (*CURL, "--rate", "24/m", "https://{host}:{port}/", *CURL[5:], "https://{host}:{port}/?2"),
        package="curl",
    ),
    Scenario(
        "psql-done",
        "postgres",
        "psql asks one query and closes",
        (*PSQL, "--command", "select 1", PSQL_TO),
        package="postgresql-client",
    ),
    Scenario(
        "psql-idle-query",
        "postgres",
        "the server's idle timeout comes while psql waits for its user, who then asks a query",
        (*PSQL, PSQL_TO),
        ((0.0, "select 1;"), (3.5, "select 2;"), (0.5, "")),
        package="postgresql-client",
    ),
    Scenario(
        "psql-idle-quit",
        "postgres",
        "the same, but the user quits without another query",
        (*PSQL, PSQL_TO),
        ((0.0, "select 1;"), (3.5, "")),
        package="postgresql-client",
    ),
    _pool("psycopg-pool", "default", "a pool of psycopg's is closed after a query", "0"),
    _pool(
        "psycopg-pool",
        "default",
        "a pool of psycopg's as it comes: the server's idle timeout is first, and a query follows",
    ),
    _pool(
        "psycopg-pool",
        "max-idle",
        "the same with min_size=0 and max_idle=1, below the server's idle timeout",
    ),
    _pool(
        "psycopg-pool",
        "check",
        "the same with check=ConnectionPool.check_connection, which asks the server first",
    ),
    _pool("node-postgres", "default", "a pg.Pool of node-postgres is ended after a query", "0"),
    _pool(
        "node-postgres",
        "default",
        "a pg.Pool as it comes: the server's idle timeout is first, and a query follows",
    ),
    _pool(
        "node-postgres",
        "idle-timeout",
        "the same with idleTimeoutMillis: 1000, below the server's idle timeout",
    ),
    _pool("pgx", "default", "a pool of pgx's is closed after a query", "0"),
    _pool(
        "pgx",
        "default",
        "a pool of pgx's as it comes: the server's idle timeout is first, and a query follows",
    ),
    _pool(
        "pgx",
        "max-idle",
        "the same with MaxConnIdleTime of 1 s, below the server's idle timeout",
    ),
    _pool("hikaricp", "default", "a HikariCP pool is closed after a query", "0"),
    _pool(
        "hikaricp",
        "default",
        "a HikariCP pool as it comes: the server's idle timeout is first, and a query follows",
    ),
)
"""Every scenario."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The first connection of one run of a client, as it was seen, and the client's last words."""

    trace: Trace
    said: str


@dataclass(frozen=True, slots=True)
class Watched:
    """How the first connection of one run of a client ended, and the client's own last words."""

    ending: str
    resets: tuple[Reset, ...]
    said: str


def missing(scenario: Scenario, tools: Path) -> str | None:
    """Why the scenario cannot be watched here; None if it can.

    ``tools`` is the folder of all tools that the lab keeps.
    """
    if (driver := scenario.profile) is not None:
        found = availability(driver, tools)
        return None if found.presence is Presence.HERE else f"{driver.title}: {found.words}"
    name = scenario.command[0]
    if shutil.which(name, path=":".join(SEARCHED)) is None:
        return f"there is no '{name}' (apt-get install {scenario.package})"
    return None


async def version(scenario: Scenario, tools: Path) -> str:
    """What the client says of itself: ``psql (PostgreSQL) 15.18``."""
    if (driver := scenario.profile) is not None:
        program = find_program(lab_of(driver), tools_of(driver, tools))
        said, _ = await versions(driver, program, tools)
        return f"{driver.title} {said or ''}".rstrip()
    command = (scenario.command[0], "--version")
    told = run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    return told[0] if told else scenario.command[0]


def command_of(scenario: Scenario, server: Started, tools: Path) -> list[str]:
    """The client's command for a server that runs."""
    names = {"host": server.host, "port": str(server.port)}
    if (driver := scenario.profile) is None:
        return [word.format(**names) for word in scenario.command]
    lab, own = lab_of(driver), tools_of(driver, tools)
    places = {"tools": str(own), "profile": str(lab.folder)}
    program = {"program": find_program(lab, own) or ""}
    return [*fill_all(lab.start, {**names, **places, **program}), *scenario.command]


async def watch(
    scenario: Scenario, server: Started, times: int, file: Path, tools: Path
) -> list[Seen]:
    """Run a client so often, one after the other; its first connection each time.

    The client does not say which port it comes from, so everyone is expected. Raises
    CannotMeasure without a packet socket.
    """
    target = (server.host, server.port)
    command = command_of(scenario, server, tools)
    spans: list[tuple[int, int, str]] = []
    async with sniffer.open_capture("packet", *target, require=True, pcapng=file) as capture:
        capture.expect_everyone()
        for _ in range(times):
            begun = time.time_ns()
            said = await trio.to_thread.run_sync(partial(_use, scenario, command))
            await trio.sleep(SETTLES_S)
            spans.append((begun, time.time_ns(), said))
        await capture.settle()
        traces = [_passive(client, target, flow) for client, flow in capture.take_everyone()]
    return [_first_in(traces, *span) for span in spans]


def ending_of(segments: Sequence[Segment]) -> str:
    """How a connection ended, in words: from the first FIN or RST on, and the last words before.

    Pure acknowledgements and what is sent again are left out: ``server FIN, client 24 bytes,
    client FIN, server RST``.
    """
    telling = list({_place(segment): segment for segment in segments if _says(segment)}.values())
    first = next((at for at, s in enumerate(telling) if s.fin or s.rst), None)
    if first is None:
        return "not ended"
    while first and telling[first - 1].length <= SHORT:
        first -= 1
    return ", ".join(map(_said, telling[first:]))


def tally(found: Iterable[Watched]) -> list[tuple[str, str, int]]:
    """Endings with the causes of their resets and how often each was seen, most often first."""
    counts = Counter((one.ending, causes(one.resets)) for one in found)
    return [(ending, why, count) for (ending, why), count in counts.most_common()]


def causes(resets: Iterable[Reset]) -> str:
    """Who reset and why: ``server: data-after-close (high)``."""
    shown = dict.fromkeys(f"{r.side}: {r.cause} ({r.confidence})" for r in resets)
    return ", ".join(shown) or "nobody resets"


def _said(segment: Segment) -> str:
    parts = [f"{segment.length} bytes"] if segment.length else []
    parts += ["FIN"] if segment.fin else []
    parts += ["RST"] if segment.rst else []
    return f"{segment.side} {' and '.join(parts)}"


def _place(segment: Segment) -> tuple[object, ...]:
    """What two copies of a segment share; an RST is never one."""
    return segment.side, segment.start, segment.length, segment.rst and segment.number


def _says(segment: Segment) -> bool:
    return bool(segment.length or segment.fin or segment.rst)


def _use(scenario: Scenario, command: Sequence[str]) -> str:
    """Run the client to its end; its last words."""
    said = b""
    with Popen(command, stdin=PIPE, stdout=PIPE, stderr=STDOUT) as client:
        try:
            for pause, line in scenario.typed:
                time.sleep(pause)
                said += _answer(client, line)
            said += client.communicate(timeout=ENDS_WITHIN_S)[0]
        except BrokenPipeError:
            said += client.communicate(timeout=ENDS_WITHIN_S)[0]
        except TimeoutExpired:
            client.kill()
            raise CannotMeasure(f"{command[0]} did not end within {ENDS_WITHIN_S:g} s") from None
        except BaseException:
            client.kill()
            raise
    lines = [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _answer(client: Popen[bytes], line: str) -> bytes:
    """Type a line; the beginning of what the client says to it, none if there is no line.

    The server's idle timeout runs from its response on, which a busy client gets late.
    """
    if not line or client.stdin is None or client.stdout is None:
        return b""
    client.stdin.write(f"{line}\n".encode())
    client.stdin.flush()
    if not select.select([client.stdout], [], [], ENDS_WITHIN_S)[0]:
        raise TimeoutExpired(client.args, ENDS_WITHIN_S)
    return os.read(client.stdout.fileno(), 1 << 16)


def _passive(client: tuple[str, int], server: tuple[str, int], flow: Flow) -> Trace:
    """A trace that tlsprobe did not drive: packets alone."""
    drive = Drive(client, server, Stage.SEQUENCE, records=(), events=())
    return Trace(drive, flow.segments, flow.coverage, "")


def _first_in(traces: Iterable[Trace], begun: int, ended: int, said: str) -> Seen:
    """The first connection that was opened in a span of time."""
    within = [t for t in traces if begun <= t.segments[0].time_ns <= ended]
    if not within:
        raise CannotMeasure(f"the client opened no connection; it said: {said or 'nothing'}")
    return Seen(min(within, key=lambda trace: trace.segments[0].time_ns), said)
