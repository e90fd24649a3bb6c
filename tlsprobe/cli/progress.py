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
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from tlsprobe.cli.console import say
from tlsprobe.report.plurals import counted


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


class _Notes:
    """What is said on standard error, a line at a time, unless --quiet."""

    def __init__(self, console: Console, quiet: bool) -> None:
        self.console = console
        self.quiet = quiet

    def note(self, text: str) -> None:
        """Say something in one line."""
        if not self.quiet:
            say(self.console, text, "dim")

    @property
    def draws(self) -> bool:
        """Whether there is a screen to draw on, and somebody wants to see it."""
        return self.console.is_terminal and not self.quiet


class ProgressView(_Notes):
    """Progress of a campaign, on standard error: a bar for each target."""

    def __init__(self, console: Console, quiet: bool) -> None:
        super().__init__(console, quiet)
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            _LeftColumn(),
            TextColumn("{task.fields[waits]}", style="dim"),
            console=console,
            transient=True,
            disable=not self.draws,
        )

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the bars while the block runs."""
        with self.bars:
            yield

    def bar(self, name: str) -> _Line:
        """A bar for a target that is about to be probed."""
        return _Line(self.bars, self.bars.add_task(name, total=None, waits="", seconds=0.0))


class FuzzProgressView(_Notes):
    """Progress of a fuzz run, on standard error: one line, with no end in sight."""

    def __init__(self, console: Console, quiet: bool) -> None:
        super().__init__(console, quiet)
        self.line = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            console=console,
            transient=True,
            disable=not self.draws,
        )
        self.task = self.line.add_task("", total=None)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the line while the block runs."""
        with self.line:
            yield

    def progressed(self, examples: int, failures: int, left: float) -> None:
        """Show how far it has come."""
        found = counted(failures, "failure")
        words = f"{counted(examples, 'example')}, {found}, {left:.0f} s left"
        self.line.update(self.task, description=words)


class FleetProgressView(_Notes):
    """Progress of a fleet, on standard error: one bar for all its targets."""

    def __init__(self, console: Console, quiet: bool, targets: int) -> None:
        super().__init__(console, quiet)
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[told]}", style="dim"),
            console=console,
            transient=True,
            disable=not self.draws,
        )
        self.task = self.bars.add_task("targets", total=targets, told="")

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the bar while the block runs."""
        with self.bars:
            yield

    def running(self, done: int, failed: int, running: int, allowed: int) -> None:
        """Show how far it has come."""
        told = f"{running} at once, room for {allowed}"
        told += f", {failed} without an answer" if failed else ""
        self.bars.update(self.task, completed=done + failed, told=told)


def _waits(waits: int) -> str:
    return f"{waits} waiting for idle expiry" if waits else ""
