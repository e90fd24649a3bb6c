"""``tlsprobe explain``: the causes of the resets in a capture or a pasted tcpdump."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tlsprobe.cli.console import one_of, out
from tlsprobe.errors import UsageError
from tlsprobe.model.explanation import Explanation
from tlsprobe.report.formats import PAGE_FORMATS, renderer

FOUND = 1
"""Exit code when a reset was found."""

MOST = 20
"""So many kinds of reset go into a ticket, which is about one or two."""


TERMINAL, JSON = "terminal", "json"
FORMATS = (TERMINAL, *PAGE_FORMATS, JSON)


def explain(  # noqa: PLR0917 - the options of the command line are its arguments
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="pcap or pcapng, gzipped or not, or what tcpdump, tshark or Wireshark's packet"
            " list printed; '-' is stdin.",
        ),
    ],
    keys: Annotated[
        list[Path] | None,
        typer.Option("--keys", metavar="FILE", help="TLS key log of the sessions; repeatable."),
    ] = None,
    host: Annotated[
        str | None, typer.Option("--host", metavar="IP", help="Only connections with this address.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65535, help="Only connections with this port."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Also list the connections without a reset.")
    ] = False,
    how: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="|".join(FORMATS),
            callback=one_of(FORMATS),
            help="Output format.",
        ),
    ] = TERMINAL,
    json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colour.")] = False,
) -> None:
    """Explain every reset in a capture: who sent it, what provoked it, the cause, what helps.

    To capture from the first SYN on: tcpdump -i any -n -w trace.pcap 'host db and port 5432'

    Then: tlsprobe explain trace.pcap, or: tcpdump -n -r trace.pcap | tlsprobe explain -

    Exit codes: 0 no reset was found; 1 a reset was found; 2 the input could not be read.
    """
    from tlsprobe.captures.reader import open_capture_file
    from tlsprobe.explain import Filter
    from tlsprobe.explain import explain as explained

    chosen = JSON if json else how
    key_logs = [_read(path) for path in keys or ()]
    wanted = Filter(host=_address(host), port=port, quiet=every or chosen == JSON)
    reading = open_capture_file(file)
    try:
        explanation = explained(reading, wanted, key_logs)
    finally:
        reading.close()
    _show(explanation, chosen, no_color)
    raise typer.Exit(FOUND if explanation.found else 0)


def _show(explanation: Explanation, how: str, no_color: bool) -> None:
    if how == JSON:
        from tlsprobe.report.explain_document import encode_explanation

        sys.stdout.buffer.write(encode_explanation(explanation))
        sys.stdout.buffer.flush()
    elif how in PAGE_FORMATS:
        from tlsprobe.report.pages.explain import explain_page

        text = renderer(how)(explain_page(explanation, most=MOST), diagrams=True)
        sys.stdout.buffer.write(text.encode("utf-8", "replace"))
        sys.stdout.buffer.flush()
    else:
        from tlsprobe.report.pages.explain import explain_page
        from tlsprobe.report.render_terminal import print_page

        print_page(out(no_color=no_color), explain_page(explanation))


def _address(host: str | None) -> str | None:
    """The address as captures print it: ``::1``, not ``0:0::1``."""
    from ipaddress import ip_address

    if host is None:
        return None
    try:
        return str(ip_address(host.strip("[]")))
    except ValueError:
        return host


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        hint = "--keys takes a key log, as SSLKEYLOGFILE or 'tlsprobe run --keylog' writes it"
        raise UsageError(f"{path}: {error.strerror}", hint) from error
