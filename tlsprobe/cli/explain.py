"""``tlsprobe explain``: the causes of the resets in a capture or a pasted tcpdump."""

from __future__ import annotations

import gc
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlsprobe.cli.console import one_of, out
from tlsprobe.cli.machines import GithubOption, GitlabOption, MachineOptions, SarifOption
from tlsprobe.cli.taking import taking
from tlsprobe.errors import UsageError
from tlsprobe.model.causes import Cause, cause_named
from tlsprobe.model.explanation import Explanation
from tlsprobe.model.trace import Side
from tlsprobe.report.formats import PAGE_FORMATS, renderer

if TYPE_CHECKING:
    from tlsprobe.explain import Filter
    from tlsprobe.explain.wanted import Moment

_TIMES = "2026-11-26T12:00:00Z, 12:00:00 (UTC), or seconds from the first packet"

_FEW_COLLECTIONS = 100_000
"""So many more objects are there before the collector of cycles looks at them."""

FOUND = 1
"""Exit code when a reset was found, or other trouble at the end of a connection."""

BROKEN = 3
"""Exit code when nothing was found by a capture that broke off: there may be something."""

TOP, TOP_OF_PAGES = 2, 20
"""So many kinds of reset are shown packet by packet on a terminal, and on a page."""

TERMINAL, JSON = "terminal", "json"
FORMATS = (TERMINAL, *PAGE_FORMATS, JSON)
CAUSES = tuple(str(cause) for cause in Cause)
SIDES = tuple(str(side) for side in Side)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainOptions:
    """The options of ``tlsprobe explain``."""

    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE",
            help="pcap or pcapng, compressed or not, a tar archive of these, or what tcpdump,"
            " tshark or Wireshark's packet list printed; '-' is stdin. With --live instead:"
            " 'port N', 'host ADDRESS', both, or nothing for all of TCP.",
        ),
    ] = None
    live: Annotated[
        bool,
        typer.Option(
            "--live",
            help="Sniff instead of reading a file: print each reset as it is understood, and the"
            " overview when Ctrl-C ends it. Needs root or CAP_NET_RAW.",
        ),
    ] = False
    interface: Annotated[
        str | None,
        typer.Option(
            "--interface", "-i", metavar="IF", help="With --live: the interface. Default: any."
        ),
    ] = None
    keys: Annotated[
        list[Path] | None,
        typer.Option("--keys", metavar="FILE", help="TLS key log of the sessions; repeatable."),
    ] = None
    host: Annotated[
        str | None, typer.Option("--host", metavar="IP", help="Only connections with this address.")
    ] = None
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65535, help="Only connections with this port."),
    ] = None
    flow: Annotated[
        str | None,
        typer.Option(
            "--flow", metavar="CLIENT:PORT", help="Only the connection with this end, in full."
        ),
    ] = None
    packet: Annotated[
        int | None,
        typer.Option("--packet", metavar="N", min=1, help="Only the connection of packet N."),
    ] = None
    cause: Annotated[
        str | None,
        typer.Option("--cause", callback=one_of(CAUSES), help="Only resets of this cause."),
    ] = None
    side: Annotated[
        str | None,
        typer.Option(
            "--side",
            metavar="|".join(SIDES),
            callback=one_of(SIDES),
            help="Only resets that this side sent.",
        ),
    ] = None
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help=f"Only what happened from then on: {_TIMES}"),
    ] = None
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="TIME", help="Only what happened until then."),
    ] = None
    top: Annotated[
        int | None,
        typer.Option(
            "--top",
            metavar="N",
            min=0,
            help=f"Show N kinds of reset packet by packet. Default: {TOP}, on a page"
            f" {TOP_OF_PAGES}.",
        ),
    ] = None
    every: Annotated[
        bool,
        typer.Option("--all", help="Show every kind of reset, and connections with nothing amiss."),
    ] = False
    how: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="|".join(FORMATS),
            callback=one_of(FORMATS),
            help="Output format.",
        ),
    ] = TERMINAL
    sarif: SarifOption = None
    gitlab: GitlabOption = None
    github: GithubOption = None
    json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False
    no_color: Annotated[bool, typer.Option("--no-color", help="No colour.")] = False

    @property
    def output(self) -> str:
        """The format."""
        return JSON if self.json else self.how

    @property
    def most(self) -> int | None:
        """So many kinds of reset are shown packet by packet; None: all."""
        if self.every:
            return None
        usual = TOP if self.output == TERMINAL else TOP_OF_PAGES
        return usual if self.top is None else self.top

    @property
    def machines(self) -> MachineOptions:
        """What build servers are to be told."""
        return MachineOptions(None, self.sarif, self.gitlab, self.github)

    def wanted(self) -> Filter:
        """Which connections are asked for. Raises UsageError."""
        from tlsprobe.explain.wanted import Filter

        return Filter(
            host=_address(self.host),
            port=self.port,
            quiet=self.every,
            flow=_endpoint(self.flow),
            packet=self.packet,
            cause=cause_named(self.cause) if self.cause else None,
            side=Side(self.side) if self.side else None,
            since=_moment("--since", self.since),
            until=_moment("--until", self.until),
        )


@taking(ExplainOptions)
def explain(options: ExplainOptions) -> None:
    """Explain how connections in a capture ended: who sent each reset, why, whom it hurts.

    First an overview, then other trouble than resets, then the kinds of reset, the worst first.

    To capture from the first SYN on: tcpdump -i any -n -w trace.pcap 'host db and port 5432'

    Then: tlsprobe explain trace.pcap, or: tcpdump -n -r trace.pcap | tlsprobe explain -

    Of a log it tells what its lines show, and which capture or run to make next.

    While it happens: sudo tlsprobe explain --live -i eth0 port 5432

    Exit codes: 0 nothing amiss was found; 1 a reset was found, or other trouble at the end of a
    connection, such as a missing close_notify (with --cause or --side: a reset that was asked for);
    2 the input could not be read or holds no packet, or the command line is wrong; 3 with --live
    nothing could be captured, or the capture broke off before anything was found.
    """
    explanations = _live(options) if options.live else _explained(options)
    _show(explanations, options)
    _tell_machines(explanations, options.machines, options.most)
    if any(one.found for one in explanations):
        raise typer.Exit(FOUND)
    raise typer.Exit(BROKEN if options.live and explanations[0].source.truncated else 0)


def _live(options: ExplainOptions) -> list[Explanation]:
    from tlsprobe.cli.explain_live import live_explanation

    wanted, words, key_logs = options.wanted(), options.words or [], options.keys or []
    how, no_color = options.output, options.no_color
    return [live_explanation(words, options.interface, wanted, key_logs, how, no_color)]


def _file(words: list[str], interface: str | None) -> str:
    if interface is not None:
        raise UsageError("--interface goes with --live: a file has its own interfaces")
    if len(words) != 1:
        said = "a file is missing" if not words else f"'{' '.join(words)}' is not one file"
        raise UsageError(said, "tlsprobe explain FILE, or: tlsprobe explain --live port 5432")
    return words[0]


def _explained(options: ExplainOptions) -> list[Explanation]:
    """One for each capture in the file; what an archive holds besides is told on stderr."""
    from tlsprobe.captures.reader import Captures
    from tlsprobe.cli.reading_view import ReadingView
    from tlsprobe.explain import explain_all

    wanted, key_logs = options.wanted(), [_read(path) for path in options.keys or ()]
    file = _file(options.words or [], options.interface)
    # What is made of packets has no cycles: to look for them again and again takes a tenth.
    gc.set_threshold(_FEW_COLLECTIONS)
    # Numpy's threads would compute what is never asked for, and wait for it busily.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    view = ReadingView(file)
    captures = Captures(file, view.watch)
    found = explain_all(captures, wanted, key_logs, view.clear)
    for left_out in captures.passed_over:
        typer.echo(f"left out: {left_out.message}", err=True)
    return found


def _show(explanations: list[Explanation], options: ExplainOptions) -> None:
    how, most = options.output, options.most
    if how == JSON:
        from tlsprobe.report.explain_document import encode_explanation

        for explanation in explanations:
            sys.stdout.buffer.write(encode_explanation(explanation))
        sys.stdout.buffer.flush()
    elif how in PAGE_FORMATS:
        from tlsprobe.report.pages.explain import explain_pages

        text = renderer(how)(explain_pages(explanations, most), diagrams=True)
        sys.stdout.buffer.write(text.encode("utf-8", "replace"))
        sys.stdout.buffer.flush()
    else:
        from tlsprobe.report.pages.explain import explain_pages
        from tlsprobe.report.render_terminal import print_page

        print_page(out(no_color=options.no_color), explain_pages(explanations, most))


def _tell_machines(
    explanations: list[Explanation], machines: MachineOptions, most: int | None
) -> None:
    """Write what was asked for build servers. Raises UsageError."""
    if not machines.wanted:
        return
    from tlsprobe.report.ci.of_explanation import notices_of_explanation
    from tlsprobe.report.pages.explain import explain_pages

    notices = [notice for one in explanations for notice in notices_of_explanation(one)]
    page = explain_pages(explanations, most)
    machines.write(notices, page)


def _address(host: str | None) -> str | None:
    """The address as captures print it: ``::1``, not ``0:0::1``."""
    from ipaddress import ip_address

    if host is None:
        return None
    try:
        return str(ip_address(host.strip("[]")))
    except ValueError:
        return host


def _endpoint(flow: str | None) -> str | None:
    """An end of a connection as captures print it."""
    if flow is None:
        return None
    host, colon, port = flow.rpartition(":")
    if not colon or not port.isdigit():
        raise UsageError(f"--flow '{flow}' is not ADDRESS:PORT", "for example 192.0.2.1:40000")
    address = _address(host) or ""
    return f"[{address}]:{int(port)}" if ":" in address else f"{address}:{int(port)}"


def _moment(option: str, typed: str | None) -> Moment | None:
    from tlsprobe.explain.wanted import read_moment

    if typed is None:
        return None
    found = read_moment(typed)
    if found is None:
        raise UsageError(f"{option} '{typed}' is not a time", f"write {_TIMES}")
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        hint = "--keys takes a key log, as SSLKEYLOGFILE or 'tlsprobe run --keylog' writes it"
        raise UsageError(f"{path}: {error.strerror}", hint) from error
