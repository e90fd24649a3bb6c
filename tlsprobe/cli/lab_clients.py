"""``tlsprobe lab clients``: what psql and curl do to a server that closes first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import trio
import typer

from tlsprobe.campaign.pace import cancel_at
from tlsprobe.cli.console import err, out, plain_errors, say
from tlsprobe.cli.probing import ProgressView, interruptible
from tlsprobe.cli.results import command_line
from tlsprobe.errors import CannotMeasure, UsageError
from tlsprobe.lab.clients import STORIES, Story, Watched, missing, tally, version, watch
from tlsprobe.lab.vendor import Started, running
from tlsprobe.lab.workspace import places
from tlsprobe.profiles import load_profile
from tlsprobe.report.escape import printable

PAGE_FILE = "clients.md"
"""What the clients did, in words, in the folder that ``--out`` names."""

Told = tuple[Story, str, list[Watched], str]
"""A story, its server in words, what was seen of it, and why nothing was, if so."""


def clients(  # noqa: PLR0917 - the options of the command line are its arguments
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[STORY...]", help="curl-idle, psql-done, ...; all by default."),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Runs of each client.")] = 5,
    out_dir: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where the page and captures go.")
    ] = Path("results"),
    captures: Annotated[
        bool, typer.Option("--captures", help="Keep what was captured, beside the page.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, no notes.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colour.")] = False,
) -> None:
    """Watch psql and curl use real servers, and say who resets whom.

    Example: sudo tlsprobe lab clients curl-idle

    Exit codes: 0 watched; 2 the command line is wrong; 3 nothing could be
    watched; 130 interrupted.
    """
    stories = chosen(names)
    desk = ProgressView(err(no_color), quiet)
    with plain_errors():
        told, interrupted = trio.run(_tell, stories, trials, out_dir if captures else None, desk)
    console = out(no_color)
    page = list(render(told))
    for line in page:
        say(console, printable(line, console.encoding))
    if any(seen for _, _, seen, _ in told):
        out_dir.mkdir(parents=True, exist_ok=True)
        text = "\n".join(page) + "\n"
        (out_dir / PAGE_FILE).write_text(text, encoding="utf-8")
        desk.note(f"written to {out_dir / PAGE_FILE}")
    if interrupted:
        raise typer.Exit(130)
    if not any(seen for _, _, seen, _ in told):
        raise typer.Exit(3)


def chosen(names: Sequence[str] | None) -> list[Story]:
    """The stories of these names, or all. Raises UsageError."""
    known = {story.name: story for story in STORIES}
    for name in names or ():
        if name not in known:
            raise UsageError(f"there is no story '{name}'", f"there are: {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(names or known)]


def render(told: Sequence[Told]) -> Iterator[str]:
    """The page, line by line, in Markdown."""
    yield "# What clients do to a server that ends the connection"
    yield ""
    yield f"`{command_line()}`, {datetime.now(UTC):%Y-%m-%d}. Of each client its first connection"
    yield "is told: its end, with the short records just before. An alert has 24 bytes in TLS 1.3."
    for story, server, seen, reason in told:
        yield ""
        yield f"## {story.name}: {story.text}"
        yield ""
        if not seen:
            yield f"unsupported: {reason}"
            continue
        yield f"Measured with {server}"
        yield ""
        for ending, why, count in tally(seen):
            yield f"- {count} of {len(seen)}: {ending} ({why})"
        if seen[-1].said:
            yield f"- the client's last words: `{seen[-1].said}`"


async def _tell(
    stories: Sequence[Story], trials: int, keep: Path | None, desk: ProgressView
) -> tuple[list[Told], bool]:
    told: list[Told] = []
    with places() as here:
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
        async with interruptible(desk.note) as stop, trio.open_nursery() as nursery:
            nursery.start_soon(cancel_at, stop, nursery.cancel_scope)
            for story in stories:
                desk.note(story.name)
                try:
                    with plain_errors():
                        reason = missing(story)
                        if reason is not None:
                            raise CannotMeasure(reason)
                        async with running(load_profile(story.vendor), here) as server:
                            file = (keep or here.scratch) / f"clients-{story.name}.pcapng"
                            seen = await watch(story, server, trials, file)
                            words = _words(story, server)
                    told.append((story, words, seen, ""))
                except CannotMeasure as error:
                    told.append((story, "", [], error.message))
            nursery.cancel_scope.cancel()
        return told, stop.is_set()


def _words(story: Story, server: Started) -> str:
    return (
        f"{version(story).partition(' (x86_64')[0]}, {server.profile.title} {server.version or ''}"
    )
