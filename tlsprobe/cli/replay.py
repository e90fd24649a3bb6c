"""``tlsprobe run --sequence fuzz-1.toml``: whether a failure that was found still shows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import trio

from tlsprobe.campaign.settings import Settings
from tlsprobe.campaign.targets import parse_target
from tlsprobe.cli.console import err
from tlsprobe.cli.progress import FuzzProgressView
from tlsprobe.drive.script import Patience
from tlsprobe.errors import UsageError, plain_errors
from tlsprobe.fuzz.folder import default_fuzz_folder
from tlsprobe.fuzz.settings import FuzzJob, FuzzSettings
from tlsprobe.model.fuzz import FuzzRun, Replay
from tlsprobe.model.profile import Profile
from tlsprobe.model.target import TlsVersion
from tlsprobe.profiles import load_profile
from tlsprobe.protocols import has_goodbye, make_conversation

if TYPE_CHECKING:
    from tlsprobe.cli.run import RunOptions

_AMPLE = 3600.0
"""Seconds that a replay may take; it ends when its runs are done."""

_CROWD = 16


def replayed(replay: Replay, options: RunOptions, begun: float) -> FuzzRun:
    """Drive the failure alone, as often as it takes to say whether it shows. Raises TlsprobeError.

    The target and the profile are those of the file, unless the command line names others.
    """
    from tlsprobe.fuzz.run import fuzz_into_folder  # hypothesis, which takes its time

    progress = FuzzProgressView(err(no_color=options.no_color), options.quiet)
    with _profile(replay, options) as profile:
        job = _job(replay, options, profile, begun)
    progress.note(f"{job.target}: {replay.property}, found {replay.expect}, seed {replay.seed}")
    with plain_errors(), progress.shown():
        return trio.run(fuzz_into_folder, job, progress)


@contextmanager
def _profile(replay: Replay, options: RunOptions) -> Iterator[Profile]:
    """The profile by name, or as the file has it."""
    if options.profile or not replay.profile_text:
        yield load_profile(options.profile or replay.profile or "raw")
        return
    with TemporaryDirectory(prefix="tlsprobe-replay-") as folder:
        path = Path(folder, "profile.toml")
        path.write_text(replay.profile_text, encoding="utf-8")
        yield load_profile(str(path))


def _job(replay: Replay, options: RunOptions, profile: Profile, begun: float) -> FuzzJob:
    targets = options.target or [replay.target]
    if len(targets) > 1 or not targets[0]:
        raise UsageError("a failure is replayed on one target", "name it with --target HOST:PORT")
    target = parse_target(targets[0], profile)
    converse = make_conversation(
        profile, options.identity.sni or target.host, options.login.login(), target.port
    )
    run = Settings(
        concurrency=max(_CROWD, replay.example.together),
        rate=options.rate,
        tls=tuple(TlsVersion),
        patience=Patience(replay.patience, replay.patience),
        identity=options.identity.identity(options.keylog),
        capture=options.capturing.capture,
        require_capture=options.capturing.require_capture,
        interface=options.capturing.interface,
    )
    settings = FuzzSettings(
        run,
        examples=1,
        seconds=_AMPLE,
        seed=replay.seed,
        properties=(replay.property,),
        goodbye=has_goodbye(profile),
        replay=replay,
    )
    folder = options.out_dir or default_fuzz_folder(target)
    return FuzzJob(target, converse, settings, folder, begun, profile_text=replay.profile_text)
