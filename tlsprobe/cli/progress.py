"""What a campaign does, shown on standard error while it does it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from tlsprobe.cli.console import say


@dataclass(frozen=True, slots=True)
class _Line:
    """The bar of one target."""

    bars: Progress
    task: TaskID

    def planned(self, connections: int, waits: int, seconds: float) -> None:
        self.bars.update(self.task, total=connections, waits=_waits(waits), seconds=seconds)

    def judged(self, waits: int) -> None:
        self.bars.update(self.task, advance=1, waits=_waits(waits))


class _LeftColumn(ProgressColumn):
    """How long it will take yet, by the plan; when that is over, nobody knows."""

    def render(self, task: Task) -> Text:
        left = round(task.fields["seconds"] - (task.elapsed or 0.0))
        return Text(f"about {left} s left" if left > 0 else "", style="dim")


class ProgressView:
    """Progress of a campaign, on standard error."""

    def __init__(self, console: Console, quiet: bool) -> None:
        self.console = console
        self.quiet = quiet
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            _LeftColumn(),
            TextColumn("{task.fields[waits]}", style="dim"),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the bars while the block runs."""
        with self.bars:
            yield

    def bar(self, name: str) -> _Line:
        """A bar for a target that is about to be probed."""
        return _Line(self.bars, self.bars.add_task(name, total=None, waits="", seconds=0.0))

    def note(self, text: str) -> None:
        """A line on standard error, unless --quiet."""
        if not self.quiet:
            say(self.console, text, "dim")


def _waits(waits: int) -> str:
    return f"{waits} waiting for idle expiry" if waits else ""
