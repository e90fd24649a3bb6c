"""How a campaign is run, and who watches it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tlsprobe.drive.script import Patience
from tlsprobe.language import format_groups
from tlsprobe.model.run import CellPlan, JudgedTrial
from tlsprobe.model.sequence import Sequence
from tlsprobe.model.target import TlsIdentity, TlsVersion

DEFAULT_PATIENCE = Patience()
ANONYMOUS = TlsIdentity()


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of a run. Durations in seconds; ``rate`` is new connections a second."""

    trials: int = 5
    concurrency: int = 16
    rate: float | None = None
    tls: tuple[TlsVersion, ...] = (TlsVersion.TLS12, TlsVersion.TLS13)
    patience: Patience = DEFAULT_PATIENCE
    identity: TlsIdentity = ANONYMOUS
    capture: str = "auto"
    require_capture: bool = False
    interface: str | None = None
    pcapng: Path | None = None


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who wants to know, while it happens. Every callback may be left as it is."""

    planned: Callable[[tuple[CellPlan, ...]], None] = lambda _: None
    judged: Callable[[JudgedTrial], None] = lambda _: None
    warned: Callable[[str], None] = lambda _: None


def plan(sequences: Iterable[Sequence], settings: Settings) -> tuple[CellPlan, ...]:
    """The cells of a run, in the order of its report."""
    return tuple(
        CellPlan(sequence, format_groups(sequence.groups), version, settings.trials)
        for sequence in sequences
        for version in settings.tls
    )
