"""How a campaign is run, what is known before it, and who watches it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Sequence as Ordered
from dataclasses import dataclass
from pathlib import Path

from tlsprobe.campaign.judging import JudgedRun
from tlsprobe.drive.script import Patience
from tlsprobe.lab.signalled import Signalled
from tlsprobe.language import format_groups
from tlsprobe.model.facts import Fact
from tlsprobe.model.profile import Profile
from tlsprobe.model.run import CaptureFacts, Cell, CellPlan, JudgedTrial, Plan, Trial
from tlsprobe.model.sequence import Sequence
from tlsprobe.model.target import Login, Ports, Target, TlsIdentity, TlsVersion
from tlsprobe.model.waiver import Waiver

DEFAULT_PATIENCE = Patience()
ANONYMOUS = TlsIdentity()
NOBODY = Login()

MOST_SIGNALLED = 5
"""Trials of a sequence after which the server has to be started again."""

JITTER = 0.02
"""Seconds by which a seeded run may delay a connection, so that they do not start in step."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of a run. Durations in seconds.

    ``connections`` is how many may be open at once, ``rate`` how many are opened a second; None: as
    many as suits where the server is. ``concurrency`` is how many do not wait idle. ``idle_s`` is
    the idle timeout that is documented, if one is. ``spent`` connections were opened before, to see
    what the server speaks.
    With a ``seed`` the cells are measured in a shuffled order and each connection starts a little
    late; the same seed gives the same order and the same delays. ``namespace`` is the network
    namespace that everything happens in, empty for our own; ``ports`` are those to connect from,
    None: any. ``process`` is the server's, which sequences may tell to stop; None: nobody's.
    ``only`` are the addresses that may be connected to, as `goes_to` has them; none: any.
    ``most_signalled`` are the most trials of a sequence that does: each costs a server.
    Where others wait for it, a server's time is over after ``within`` seconds, or earlier, when it
    has taken much longer than one that answers as in the preflight and ends nothing. What was
    measured counts. None: nobody waits.
    """

    trials: int = 5
    concurrency: int = 16
    connections: int | None = None
    rate: float | None = None
    tls: tuple[TlsVersion, ...] = (TlsVersion.TLS12, TlsVersion.TLS13)
    patience: Patience = DEFAULT_PATIENCE
    identity: TlsIdentity = ANONYMOUS
    capture: str = "auto"
    require_capture: bool = False
    interface: str | None = None
    pcapng: Path | None = None
    seed: int | None = None
    namespace: str = ""
    ports: Ports | None = None
    only: tuple[str, ...] = ()
    idle_s: float | None = None
    spent: int = 0
    process: Signalled | None = None
    most_signalled: int = MOST_SIGNALLED
    within: float | None = None

    @property
    def expected_idle(self) -> float:
        """After how long an idle connection should be ended, or else for how long we wait."""
        return min(self.patience.idle, self.idle_s or self.patience.idle)


@dataclass(frozen=True, slots=True)
class TargetSettings:
    """One target of ``tlsprobe run``, and how it is probed.

    ``is_guessed``: nobody named the profile. ``sequences`` are names, files or steps; none of them
    means those of the profile. ``idle_s`` is how long idle sequences wait, in seconds; None: as
    long as the profile says. ``expect`` is a baseline of its own. ``signal`` is the process that
    sequences may signal: its number, or the file that holds it.
    """

    target: Target
    profile: Profile
    how: Settings
    sequences: tuple[str, ...] = ()
    login: Login = NOBODY
    idle_s: float | None = None
    expect: Path | None = None
    is_guessed: bool = False
    signal: str | None = None


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What ``tlsprobe run`` is asked to do: whom it probes, how, and where the results go.

    Of several targets, ``out_dir``, ``resume`` and ``expect`` hold a folder each. ``waivers`` say
    what is accepted. ``delay_close`` is the process whose close() is held up. ``command`` are the
    words behind ``tlsprobe run``, ``typed`` is the whole command line.
    """

    targets: tuple[TargetSettings, ...]
    waivers: tuple[Waiver, ...] = ()
    out_dir: Path | None = None
    resume: Path | None = None
    expect: Path | None = None
    delay_close: int | None = None
    command: tuple[str, ...] = ()
    typed: str = ""


@dataclass(frozen=True, slots=True)
class LabSettings:
    """What ``tlsprobe lab run`` is asked to do. Durations in seconds, None: by the idle timeout.

    ``jobs`` is how many servers are probed at a time. With ``summary_only`` only the facts and the
    pages are kept, and replace what ``folder`` holds of a vendor. ``install``: get what is missing
    first. ``waivers`` say what is accepted. ``typed`` is the whole command line.
    ``unfinished_since``: when the lab began that left ``folder`` unfinished and is continued, empty
    for a new one. ``matrix``: write that of all that the folder holds, with its pages.
    ``most_signalled`` as in ``Settings``.
    """

    folder: Path
    trials: int = 3
    tls: tuple[TlsVersion, ...] = (TlsVersion.TLS12, TlsVersion.TLS13)
    sequences: tuple[str, ...] = ()
    jobs: int = 1
    patience: float | None = None
    idle_limit: float | None = None
    summary_only: bool = False
    expect: Path | None = None
    waivers: tuple[Waiver, ...] = ()
    install: bool = False
    typed: str = ""
    unfinished_since: str = ""
    matrix: bool = True
    most_signalled: int = MOST_SIGNALLED


@dataclass(frozen=True, slots=True)
class PathsSettings:
    """What ``tlsprobe lab paths`` is asked to do.

    ``sequences``: none means those that a path is about. ``seed`` says which packets a lossy path
    loses. ``over_ipv6``: IPv6 instead of IPv4. ``summary_only`` and ``typed`` as in
    ``LabSettings``.
    """

    folder: Path
    trials: int = 3
    tls: tuple[TlsVersion, ...] = (TlsVersion.TLS12, TlsVersion.TLS13)
    sequences: tuple[str, ...] = ()
    seed: int = 1
    over_ipv6: bool = False
    summary_only: bool = False
    typed: str = ""


@dataclass(frozen=True, slots=True)
class RemediesSettings:
    """What ``tlsprobe lab remedies`` is asked to do; ``typed`` as in ``LabSettings``."""

    folder: Path
    trials: int = 20
    tls: tuple[TlsVersion, ...] = (TlsVersion.TLS12, TlsVersion.TLS13)
    install: bool = False
    typed: str = ""


@dataclass(frozen=True, slots=True)
class ClientsSettings:
    """What ``tlsprobe lab clients`` is asked to do: so many ``trials`` of each scenario.

    ``captures``: keep them beside the page. ``install``: first get what is missing.
    ``summary_only`` and ``typed`` as in ``LabSettings``.
    """

    folder: Path
    trials: int = 5
    captures: bool = False
    summary_only: bool = False
    install: bool = False
    typed: str = ""


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """What ``tlsprobe demo`` is asked to do: the built-in ``servers``, a folder in ``folder`` each.

    ``typed`` is the whole command line.
    """

    servers: tuple[str, ...]
    folder: Path
    trials: int = 3
    typed: str = ""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a campaign found; ``interrupted`` says that it was cut short, or still goes on.

    ``plan`` is what it was to cost, ``spent`` what it has cost.
    """

    judged: JudgedRun
    capture: CaptureFacts
    address: str
    interrupted: bool
    notes: tuple[str, ...] = ()
    plan: Plan | None = None
    spent: Plan | None = None

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The cells in the order of the report."""
        return self.judged.cells

    @property
    def trials(self) -> tuple[JudgedTrial, ...]:
        """The trials in the order in which they ended."""
        return self.judged.trials


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who wants to know, while it happens. Every callback may be left as it is.

    ``told`` gets what it will cost before it starts, ``planned`` how many connections each cell
    still needs; ``progressed`` everything measured so far, when the plan is made and when a cell
    has ended, but not before ``every`` seconds have passed. ``witnessed`` is asked at the end for
    what others saw meanwhile.
    """

    told: Callable[[Plan], None] = lambda _: None
    planned: Callable[[Mapping[CellPlan, int]], None] = lambda _: None
    judged: Callable[[JudgedTrial], None] = lambda _: None
    progressed: Callable[[Measured], None] = lambda _: None
    warned: Callable[[str], None] = lambda _: None
    witnessed: Callable[[], Iterable[Fact]] = lambda: ()
    every: float = 0.0


def plan(sequences: Iterable[Sequence], settings: Settings) -> tuple[CellPlan, ...]:
    """The cells of a run, in the order of its report; none in a version without such steps.

    A sequence that signals the server costs a server each time, and is tried a few times.
    """
    few = min(settings.trials, settings.most_signalled)
    return tuple(
        CellPlan(
            *(sequence, format_groups(sequence.groups), version),
            trials=few if sequence.signals else settings.trials,
        )
        for sequence in sequences
        for version in settings.tls
        if sequence.fits(version)
    )


def in_order(plans: Ordered[CellPlan], seed: int | None) -> list[CellPlan]:
    """The cells in the order in which they are measured: shuffled by the seed, if there is one."""
    ordered = list(plans)
    if seed is not None:
        random.Random(seed).shuffle(ordered)
    return ordered


def delay_of(trial: Trial, seed: int | None) -> float:
    """Seconds by which a trial starts late; its own, whatever was measured before it."""
    if seed is None:
        return 0.0
    own = f"{seed} {trial.sequence} {trial.tls} {trial.index}"
    return random.Random(own).random() * JITTER
