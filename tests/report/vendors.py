"""A handful of servers with different habits, as runs, for whatever compares them."""

from __future__ import annotations

from dataclasses import replace

from tests.report.builders import NASTY, clean, make_run
from tlsprobe.model.causes import Cause
from tlsprobe.model.judgement import Confidence, Verdict
from tlsprobe.model.run import (
    BeforeAfter,
    CauseFacts,
    Cell,
    Disagreement,
    Idle,
    IdleKind,
    ResetCounts,
    Run,
    ServerFacts,
    Spread,
    Truth,
)
from tlsprobe.model.trace import Side
from tlsprobe.report.compatibility import Vendor

TRIALS = 20

OUTCOMES = {
    "n f": "clean",
    "f": "no-close-notify",
    "n r": "reset-before-fin",
    "r": "reset-before-fin",
    "n f r": "reset-after-fin",
    "": "open",
}
"""The outcome of each ending, by the server's part of the signature."""

Endings = dict[str, str]
"""The server's part of the signature, by sequence."""

CLOSED = {
    "close-notify-fin": "n f",
    "half-close": "n f",
    "fin-only": "n f",
    "terminate": "n f",
    "terminate-close-notify": "n f",
    "server-close-reply": "n f",
    "idle-expiry": "n f",
    "idle-expiry-reply": "n f",
}
"""A server without a fault."""

BARE = CLOSED | dict.fromkeys(("close-notify-fin", "half-close", "fin-only"), "f")
BARE_RESETTING = BARE | {"server-close-reply": "n f r", "idle-expiry-reply": "n f r"}
HASTY = CLOSED | {"terminate-close-notify": "n r", "server-close-reply": "n r"}
NEVER_IDLE = CLOSED | {"idle-expiry": "", "idle-expiry-reply": ""}


def cell(sequence: str, ending: str, tls: str = "1.3", rare: str | None = None) -> Cell:
    """A cell that ended so in every trial, or otherwise in one of them."""
    endings = {ending: TRIALS} if rare is None else {ending: TRIALS - 1, rare: 1}
    outcomes: dict[str, int] = {}
    for how, count in endings.items():
        outcomes[OUTCOMES[how]] = outcomes.get(OUTCOMES[how], 0) + count
    before = sum(count for how, count in endings.items() if "r" in how and "f" not in how)
    after = sum(count for how, count in endings.items() if "r" in how and "f" in how)
    why = CauseFacts("unread-data-at-close", before, "server", Confidence.HIGH, ("Seen.",))
    return replace(
        clean(sequence, tls),
        verdict=Verdict.WARN if before else Verdict.PASS,
        outcomes=outcomes,
        signatures={f"N {how}".strip(): count for how, count in endings.items()},
        resets=ResetCounts(server=BeforeAfter(before, after)),
        why=(replace(why, remedy=("Server: read on.", "Forwarder: survive it.")),)
        if before
        else (),
        causes={"unread-data-at-close": before} if before else {},
        path_alive=True,
    )


def run_of(
    name: str, endings: Endings, *more: Cell, versions: tuple[str, ...] = ("1.2", "1.3")
) -> Run:
    """A run of a server with these habits in every TLS version."""
    cells = [
        cell(sequence, ending, tls) for sequence, ending in endings.items() for tls in versions
    ]
    return make_run(*cells, *more, name=name)


def vendor(name: str, endings: Endings, title: str | None = None) -> Vendor:
    return Vendor(name, title or name, run_of(name, endings))


def in_lab(run: Run, vendor: str, title: str, **facts: str | float) -> Run:
    """The run as the lab tells it: with what it knows of the server."""
    known = ServerFacts(vendor, title, version="1.22.1", tls_library="OpenSSL 3.0.17")
    return replace(run, server=replace(known, **facts))  # type: ignore[arg-type]


def idle_run() -> Run:
    """One that measured two of its timers."""
    expiry = replace(
        cell("idle-expiry", "n f"),
        timing_us={"idle_to_end": Spread(20, 990_000.0, 1_000_000.0, 1_001_000.0, 1_002_000.0)},
    )
    kinds = {
        "after a request": IdleKind(1.0, 0.012, 0.99, "close_notify, fin"),
        "before the first request": IdleKind(None, None, None, "silence"),
    }
    idle = Idle(1.0, 0.012, "close_notify, fin", 0.89, "keep it at 0.89 s or less", kinds)
    silent = cell("idle-before-request", "")
    return make_run(expiry, silent, name="nginx", idle=idle)


def truth(*disagreements: Disagreement, resets: int = 100) -> Truth:
    agreed = resets - len(disagreements) - 3
    return Truth(resets, agreed, 3, disagreements, (), 2, 0)


DISAGREEMENT = Disagreement(
    "terminate",
    "1.3",
    7,
    Side.SERVER,
    42,
    Cause.DELIBERATE,
    Confidence.LOW,
    (Cause.UNKNOWN,),
    "TCP_CLOSE_WAIT",
    "TCP_ABORT_ON_CLOSE",
)


def five() -> list[Vendor]:
    """Two of one kind, two nearly so, and one without a run."""
    return [
        vendor("nginx", BARE_RESETTING),
        vendor("postgres", HASTY, "PostgreSQL"),
        vendor("nginx-proxy", BARE_RESETTING, "nginx (as a proxy)"),
        vendor("redis", NEVER_IDLE),
        Vendor("h2o", "h2o", None, "no such program: h2o"),
    ]


def nasty() -> list[Vendor]:
    """Names, reasons and sequences that mean something to whoever reads them carelessly."""
    evil = run_of("evil", {NASTY: "n f", "=1+1": "n r"})
    evil = replace(evil, target=replace(evil.target, name="=cmd|' /C calc'!A0"))
    evil = in_lab(evil, "=evil", NASTY, version=NASTY, notes=NASTY)
    return [
        Vendor("=evil", NASTY, evil, version="@SUM(1)", tls_library="-1"),
        Vendor("+gone", NASTY, None, NASTY),
    ]
