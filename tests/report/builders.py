"""Runs built by hand, from what real servers did (PostgreSQL 15, nginx 1.22)."""

from __future__ import annotations

from tlsprobe.model.causes import Cause
from tlsprobe.model.judgement import (
    Axes,
    Confidence,
    DataEnd,
    LadderLine,
    Level,
    Outcome,
    Reader,
    Reset,
    Result,
    RuleResult,
    TcpEnd,
    TlsEnd,
    Verdict,
)
from tlsprobe.model.run import (
    BeforeAfter,
    CaptureFacts,
    CauseFacts,
    Cell,
    Example,
    Finding,
    HostFacts,
    Idle,
    ReaderCounts,
    ResetCounts,
    Run,
    Spread,
    Tool,
    TrialLine,
)
from tlsprobe.model.target import Target
from tlsprobe.model.trace import Side

NASTY = "\x1b[31mred|`tick``s` [bold]x[/bold] *a* _b_ <b>\n# head\u202e\udcff \\ é 漢"

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

RESET_WARNING = Finding(
    "INTEROP-RESET-BEFORE-FIN",
    Level.INTEROP,
    Result.WARN,
    20,
    "The server reset the connection instead of ending it with a FIN: a reader gets ECONNRESET "
    "where it expects EOF, and a forwarder that takes a read error for fatal dies.",
)

UNREAD = CauseFacts(
    "unread-data-at-close",
    20,
    "server",
    Confidence.HIGH,
    (
        "Packet 24 is RST+ACK with a live window: the server's own kernel sent it, at close().",
        "It acknowledges our close_notify (packet 22), which the server never read.",
        "The control sequence without close_notify drew no RST in 20 of 20 trials.",
    ),
    ("Send Terminate and close without a close_notify.", "Have the forwarder survive a reset."),
)

LADDER = (
    LadderLine(0.0, Side.CLIENT, "G", "Terminate (5 bytes)", 21),
    LadderLine(14.2, Side.CLIENT, "N", "close_notify (24 bytes)", 22),
    LadderLine(812.0, Side.SERVER, "n", "close_notify (24 bytes)", 23),
    LadderLine(1204.4, Side.SERVER, "r", "RST+ACK, window 512", 24),
)


def postgres_reset(tls: str = "1.3") -> Cell:
    rule = f"TLS{tls.replace('.', '')}-NOTIFY"
    return Cell(
        "terminate-close-notify",
        "request; terminate; close_notify; drain",
        tls,
        20,
        Verdict.WARN,
        outcomes={"reset-before-fin": 20},
        signatures={"G N n r": 20},
        resets=ResetCounts(server=BeforeAfter(before_fin=20)),
        causes={"unread-data-at-close": 20},
        reader=ReaderCounts(reset=20),
        path_alive=True,
        findings=(
            Finding(rule, Level.MUST, Result.PASS, 20, "close_notify came before the end."),
            RESET_WARNING,
            Finding(
                "TCP-RST-ON-UNREAD",
                Level.SHOULD,
                Result.PASS,
                20,
                "The RST is what TCP asks for when data is left unread.",
            ),
        ),
        why=(UNREAD,),
        timing_us={"close_notify_to_fin": Spread(0), "end": Spread(20, 1.0, 2.0, 3.0, 4.0)},
        example=Example(7, "G N n r", LADDER),
    )


def clean(sequence: str = "terminate", tls: str = "1.3", trials: int = 20) -> Cell:
    return Cell(
        sequence,
        "request; terminate; drain",
        tls,
        trials,
        Verdict.PASS,
        outcomes={"clean": trials},
        signatures={"G nf F": trials},
        reader=ReaderCounts(eof=trials),
    )


def nginx_race(tls: str = "1.3", resets: int = 3, trials: int = 1200) -> Cell:
    """Mostly a bare RST after the FIN; now and then one in place of it."""
    return Cell(
        "server-close-reply",
        "request; terminate; await close_notify; close_notify; drain",
        tls,
        trials,
        Verdict.WARN,
        outcomes={"reset-after-fin": trials - resets, "reset-before-fin": resets},
        signatures={"nf N r": trials - resets, "n N r": resets},
        resets=ResetCounts(server=BeforeAfter(resets, trials - resets)),
        reader=ReaderCounts(eof=trials - resets, reset=resets),
    )


def bare_fin(tls: str = "1.3") -> Cell:
    text = "The server closed its side without a close_notify."
    return Cell(
        "close-notify-fin",
        "request; close_notify; fin; drain",
        tls,
        20,
        Verdict.FAIL,
        outcomes={"no-close-notify": 20},
        signatures={"N F f": 20},
        reader=ReaderCounts(eof=20),
        findings=(Finding("TLS-NOTIFY", Level.MUST, Result.FAIL, 20, text),),
        example=Example(0, "N F f", (LadderLine(3.0, Side.SERVER, "f", "FIN", 9),)),
    )


def unsupported(sequence: str, tls: str) -> Cell:
    reason = "the server speaks only TLS 1.3"
    return Cell(sequence, "request; drain", tls, 0, Verdict.UNSUPPORTED, reason=reason)


def make_run(
    *cells: Cell,
    name: str = "postgres",
    capture: CaptureFacts | None = None,
    idle: Idle | None = None,
    notes: tuple[str, ...] = (),
    interrupted: bool = False,
) -> Run:
    summary = {verdict.value: 0 for verdict in Verdict}
    for cell in cells:
        summary[cell.verdict.value] += 1
    return Run(
        Tool("tlsprobe", "0.1.0"),
        "2026-11-20T20:01:02.345Z",
        "2026-11-20T20:03:09.001Z",
        HostFacts("Linux", "6.18.0", "3.11.9", "OpenSSL 3.5.1"),
        Target(name, "127.0.0.1", 5432, "postgres", "postgres"),
        capture or CaptureFacts("packet", "lo", 1234, 0),
        cells,
        summary,
        idle=idle,
        notes=notes,
        interrupted=interrupted,
    )


def postgres_run() -> Run:
    return make_run(
        clean(tls="1.2"), clean(tls="1.3"), postgres_reset("1.2"), postgres_reset("1.3")
    )


def nginx_run() -> Run:
    idle = Idle(60.02, 0.01, "close_notify+fin", 55.0, "")
    return make_run(bare_fin("1.2"), bare_fin(), nginx_race(), name="nginx", idle=idle)


def nasty_run() -> Run:
    """Every string that a peer, a profile or a command line can fill, filled badly."""
    finding = Finding("RULE", Level.MUST, Result.FAIL, 1, NASTY)
    facts = CauseFacts("unknown", 1, "server", Confidence.LOW, (NASTY,), (NASTY,))
    example = Example(0, "n r", (LadderLine(1.0, Side.SERVER, "r", NASTY, 3),))
    cell = Cell(
        NASTY,
        NASTY,
        "1.3",
        1,
        Verdict.FAIL,
        outcomes={"data-lost": 1},
        signatures={"n r": 1},
        findings=(finding,),
        why=(facts,),
        example=example,
    )
    gap = Cell("gap", NASTY, "1.2", 0, Verdict.ERROR, reason=NASTY)
    return make_run(cell, gap, name=NASTY, notes=(NASTY,))


def trial_line() -> TrialLine:
    reset = Reset(
        Side.SERVER,
        24,
        1_790_000_000_000_000_123,
        True,
        Cause.UNREAD_AT_CLOSE,
        Confidence.HIGH,
        UNREAD.evidence,
        (Cause.DELIBERATE,),
    )
    return TrialLine(
        "terminate-close-notify",
        "1.3",
        7,
        "2026-11-20T20:01:02.345Z",
        "127.0.0.1:36252",
        Outcome.RESET_BEFORE_FIN,
        Axes(TlsEnd.NOTIFIED, TcpEnd.RESET, DataEnd.COMPLETE, Reader.RESET),
        "G N n r",
        (reset,),
        tuple(
            RuleResult(f"RULE-{number}", Level.MUST, Result.PASS, "the server did as it should")
            for number in range(20)
        ),
        {"notify_to_reset": 392.4},
        True,
        ladder=LADDER,
        notes=("retransmission seen",),
    )
