"""``tlsprobe run``: one target after the other, each with a results folder of its own."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from tlsprobe.campaign.expecting import read_baseline
from tlsprobe.campaign.one_target import Job, probe
from tlsprobe.campaign.pace import interruptible
from tlsprobe.campaign.progress import Progress
from tlsprobe.campaign.results import default_folder, slug
from tlsprobe.campaign.resume import Earlier, must_fit, read_earlier
from tlsprobe.campaign.settings import RunSettings, TargetSettings, plan
from tlsprobe.catalogue import NO_PROCESS, NO_SESSION, default_sequences, find_sequences, lacks
from tlsprobe.errors import TlsprobeError, UsageError
from tlsprobe.lab.delayed_close import delayed_close
from tlsprobe.lab.signalled import by_number
from tlsprobe.model.profile import Profile
from tlsprobe.model.run import Run
from tlsprobe.model.sequence import Sequence, Signal
from tlsprobe.model.target import Target
from tlsprobe.protocols import (
    Conversations,
    has_goodbye,
    is_commanded,
    make_conversation,
    offers,
)
from tlsprobe.report.document import RUN_FILE

IDLE_LIMIT = 75.0
"""Seconds that idle sequences wait where the profile documents no timeout."""


@dataclass(frozen=True, slots=True)
class Probed:
    """What came of the targets: a run of each that could be measured, and why others could not.

    ``folder`` is what has to be given to ``--resume`` if some run was ``interrupted``.
    """

    runs: tuple[Run, ...]
    failures: tuple[TlsprobeError, ...]
    folder: Path

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended it."""
        return any(run.interrupted for run in self.runs)


def jobs_of(asked: RunSettings) -> list[Job]:
    """What is to be done for each target. Raises UsageError for what does not fit."""
    return [_job(one, asked) for one in asked.targets]


async def probe_all(asked: RunSettings, jobs: list[Job], progress: Progress) -> Probed:
    """Probe target after target; the others go on if one fails."""
    if asked.delay_close is None:
        return await _probe_each(asked, jobs, progress)
    async with delayed_close(asked.delay_close) as said:
        slow = [replace(job, notes=(said,)) for job in jobs]
        return await _probe_each(asked, slow, progress)


async def _probe_each(asked: RunSettings, jobs: list[Job], progress: Progress) -> Probed:
    runs: list[Run] = []
    failures: list[TlsprobeError] = []
    async with interruptible(progress.note) as stop:
        for job in jobs:
            if stop.is_set():
                break
            try:
                runs.append(await probe(job, progress, stop))
            except TlsprobeError as error:
                failures.append(error)
    last = jobs[len(runs) + len(failures) - 1]
    shared = asked.resume or (asked.out_dir if len(jobs) > 1 else None)
    return Probed(tuple(runs), tuple(failures), shared or last.folder)


# --- One target -----------------------------------------------------------------------------------


def _job(one: TargetSettings, asked: RunSettings) -> Job:
    """One target with its results folder, what that holds, and its baseline."""
    target, profile, how = one.target, one.profile, one.how
    settings = replace(
        how,
        connections=how.connections or profile.connections,
        patience=replace(how.patience, idle=idle_limit(one)),
        idle_s=profile.idle_s,
    )
    name = settings.identity.sni or target.host
    converse = make_conversation(profile, name, one.login, target.port)
    if one.signal is not None:
        process = by_number(one.signal, profile.signals, target.host, target.port)
        settings = replace(settings, process=process)
    knows = settings.process.knows if settings.process is not None else frozenset()
    sequences = choose_sequences(profile, converse, one.sequences, knows)
    plans = plan(sequences, settings)
    earlier = _earlier(asked, target)
    if earlier is not None:
        must_fit(earlier, target, plans, settings.seed)
        settings = replace(settings, seed=earlier.run.seed)
    baseline = one.expect or _own(asked, asked.expect, target)
    return Job(
        target,
        converse,
        sequences,
        settings,
        folder=_own(asked, asked.resume or asked.out_dir, target) or default_folder(target),
        earlier=earlier,
        baseline=read_baseline(baseline, plans) if baseline else None,
        command=asked.command,
        typed=asked.typed,
        waivers=asked.waivers,
    )


def idle_limit(one: TargetSettings) -> float:
    """How long idle sequences wait: a little longer than the timeout that is known."""
    known = one.profile.idle_s
    documented = IDLE_LIMIT if known is None else known * 1.1 + 1
    return one.idle_s or documented


def _own(asked: RunSettings, folder: Path | None, target: Target) -> Path | None:
    """A target's part of a folder."""
    return folder / slug(str(target)) if folder and len(asked.targets) > 1 else folder


def _earlier(asked: RunSettings, target: Target) -> Earlier | None:
    """What can be resumed; of several targets, some may not have been started."""
    folder = _own(asked, asked.resume, target)
    if asked.resume is None or folder is None:
        return None
    several = len(asked.targets) > 1
    not_started = several and asked.resume.is_dir() and not (folder / RUN_FILE).exists()
    return None if not_started else read_earlier(folder)


def choose_sequences(
    profile: Profile,
    converse: Conversations,
    asked: tuple[str, ...],
    knows: Collection[Signal] = (),
) -> tuple[Sequence, ...]:
    """The sequences that were asked for, else the profile's, else all that apply.

    Of a chapter, those that apply; ``knows`` is what the server's process can be told. Raises
    UsageError for a name of which nothing applies.
    """
    goodbye, offered = has_goodbye(profile), offers(converse)
    commanded = is_commanded(converse)
    names = asked or profile.sequences
    if not names:
        return default_sequences(offered, has_goodbye=goodbye)
    chosen: dict[Sequence, None] = {}
    for name in names:
        found = find_sequences(name)
        missing = [
            lacks(s, offered, has_goodbye=goodbye, knows=knows, is_commanded=commanded)
            for s in found
        ]
        if NO_PROCESS in missing and all(missing):
            hint = "name it with --signal PID, or --signal FILE that holds its number"
            raise UsageError(f"'{name}' signals the server, and nobody says which process", hint)
        if NO_SESSION in missing and all(missing):
            hint = "ask for it on the control connection, with --profile ftp"
            message = f"'{name}' resumes a session, and here that of the control connection is"
            raise UsageError(message, hint)
        if all(missing):
            hint = "add it under [protocol] in the profile, or choose another sequence"
            message = (
                f"'{name}' needs {missing[0]}, which the profile '{profile.name}' does not have"
            )
            raise UsageError(message, hint)
        chosen |= dict.fromkeys(s for s, lack in zip(found, missing, strict=True) if not lack)
    return tuple(chosen)
