"""What ``import tlsprobe`` gives to programs.

Everything takes and returns values. Nothing here prints, exits, listens to signals, or keeps
anything between two calls. What goes wrong on our side is a `TlsprobeError` with a hint; a peer
that misbehaves is a result. Durations are in seconds; fields of documents whose names end in
``_us`` are in microseconds.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import wraps
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, ParamSpec, TypeVar

import trio

from tlsprobe.behaviours import behaviours_of
from tlsprobe.campaign.guess_protocol import recognised
from tlsprobe.campaign.one_target import probe as probe_target
from tlsprobe.campaign.progress import Silent
from tlsprobe.campaign.rejudging import judged_now
from tlsprobe.campaign.run import jobs_of
from tlsprobe.campaign.settings import ANONYMOUS, NOBODY, RunSettings, Settings, TargetSettings
from tlsprobe.campaign.targets import guess_profile, parse_target
from tlsprobe.captures.reader import Captures
from tlsprobe.configuration import read_waivers
from tlsprobe.drive.script import Patience
from tlsprobe.errors import CannotMeasure, UsageError, plain_errors
from tlsprobe.explain import EVERYTHING, explain_all
from tlsprobe.explain.wanted import Filter
from tlsprobe.model.behaviour import Behaviour
from tlsprobe.model.explanation import Explanation
from tlsprobe.model.judgement import FAIL_ON
from tlsprobe.model.profile import Profile
from tlsprobe.model.run import Run
from tlsprobe.model.target import Login, Target, TlsIdentity, TlsVersion
from tlsprobe.profiles import load_profile
from tlsprobe.reference.behaviours import BEHAVIOURS
from tlsprobe.report.ci.notice import Weight
from tlsprobe.report.ci.of_run import counts, notices_of_run
from tlsprobe.sniff.capture import CHOICES
from tlsprobe.waiving import waived

_P = ParamSpec("_P")
_T = TypeVar("_T")


async def probe(
    target: str,
    *,
    profile: str | Profile | None = None,
    sequences: Iterable[str] = (),
    tls: Iterable[str] = ("1.2", "1.3"),
    trials: int = 5,
    patience: float = 5.0,
    idle_limit: float | None = None,
    concurrency: int = 16,
    connections: int | None = None,
    rate: float | None = None,
    seed: int | None = None,
    identity: TlsIdentity = ANONYMOUS,
    login: Login = NOBODY,
    capture: str = "auto",
    require_capture: bool = False,
    interface: str | None = None,
    expect: str | Path | None = None,
    folder: str | Path | None = None,
) -> Run:
    """Drive close sequences against a server, watch the wire, and judge what came of them.

    The arguments are the options of ``tlsprobe run``. It runs in trio's event loop; elsewhere call
    `probe_sync`.

    Args:
        target: ``HOST:PORT``, ``[IPv6]:PORT``, or a host alone.
        profile: A name of ``tlsprobe profiles``, the path of a file, or a loaded profile. None: it
            is guessed from the port, or by asking the server.
        sequences: Names, chapters, or steps. None of them: the profile's, or all that apply.
        tls: The versions to offer, each by itself.
        trials: Connections of each sequence in each version.
        patience: Seconds to wait for the server to answer, or to end a connection.
        idle_limit: Seconds that idle sequences wait. None: a little longer than the profile says.
        concurrency: Connections at a time, not counting those that wait idle.
        connections: Connections open at once, those that wait idle included. None: what the profile
            says, else 32 on loopback and 16 elsewhere.
        rate: New connections a second. None: 20, on loopback no limit.
        seed: Shuffles the order of the cells, the same way for the same number.
        identity: Certificates, the server name, ALPN.
        login: Who logs in, where the protocol asks.
        capture: ``auto``, ``packet``, ``dumpcap``, ``tcpdump`` or ``none``.
        require_capture: Whether it is an error that there is no way to capture.
        interface: The interface to sniff on. None: that of the route.
        expect: A baseline: a results folder, a ``run.json`` or a ``behaviours.json``. How the run
            deviates from it is in its ``deviations``.
        folder: The results folder, which must not hold a run yet. None: no file is kept.

    Returns:
        The run document: its cells, and its behaviours, the most harmful first.

    Raises:
        UsageError: an argument is wrong, or does not fit the profile.
        CannotMeasure: the server cannot be reached, or there is no capture and one is required.
        RuntimeError: it is awaited in another event loop than trio's.

    >>> import trio, tlsprobe
    >>> async def main():
    ...     with tlsprobe.reference_server("rude") as address:
    ...         return await tlsprobe.probe(
    ...             address, profile="reference", sequences=["terminate"], trials=2, capture="none")
    >>> run = trio.run(main)
    >>> [(cell.sequence, str(cell.tls), cell.outcomes) for cell in run.cells]
    [('terminate', '1.2', {'clean': 2}), ('terminate', '1.3', {'clean': 2})]
    """
    if not trio.lowlevel.in_trio_run():
        raise RuntimeError(
            "tlsprobe.probe runs in trio's event loop; call tlsprobe.probe_sync elsewhere, in"
            " asyncio as asyncio.to_thread(tlsprobe.probe_sync, ...)"
        )
    how = Settings(
        trials=_at_least("trials", trials, 1),
        concurrency=_at_least("concurrency", concurrency, 1),
        connections=None if connections is None else _at_least("connections", connections, 2),
        rate=None if rate is None else _more_than_0("rate", rate),
        tls=tuple(dict.fromkeys(map(_version, tls))),
        patience=Patience(_more_than_0("patience", patience)),
        identity=identity,
        capture=_one_of("capture", capture, CHOICES),
        require_capture=require_capture,
        interface=interface,
        seed=seed,
    )
    asked = TargetSettings(
        *_recipient(target, profile),
        how,
        sequences=tuple(sequences),
        login=login,
        idle_s=None if idle_limit is None else _more_than_0("idle_limit", idle_limit),
        expect=None if expect is None else Path(expect),
        is_guessed=profile is None,
    )
    return await _probed(asked, folder)


def _recipient(target: str, profile: str | Profile | None) -> tuple[Target, Profile]:
    """Where the server is and how it is spoken to. Raises UsageError."""
    named = profile or guess_profile(target)
    known = named if isinstance(named, Profile) else load_profile(named)
    return parse_target(target, known), known


async def _probed(asked: TargetSettings, folder: str | Path | None) -> Run:
    """The run, in a folder that stays only if somebody named it. Raises TlsprobeError."""
    with ExitStack() as until_the_end:
        if folder is None:
            folder = until_the_end.enter_context(TemporaryDirectory(prefix="tlsprobe-"))
        settings = await recognised(RunSettings((asked,), out_dir=Path(folder)), _SILENT.note)
        (job,) = jobs_of(settings)
        with plain_errors():
            return await probe_target(job, _SILENT, trio.Event())


_SILENT = Silent()


def _at_least(name: str, value: int, least: int) -> int:
    if value < least:
        raise UsageError(f"{name} is {value}", f"give a number of at least {least}")
    return value


def _more_than_0(name: str, value: float) -> float:
    if not 0 < value < inf:
        raise UsageError(f"{name} is {value}", "give a number greater than 0")
    return value


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise UsageError(f"{name} '{value}' is not one of {', '.join(choices)}")
    return value


def _version(text: str) -> TlsVersion:
    return TlsVersion(_one_of("tls", text, tuple(TlsVersion)))


def _in_trio(work: Callable[_P, Awaitable[_T]]) -> Callable[_P, _T]:
    """The same as a function that waits for it."""

    @wraps(work)
    def run(*args: _P.args, **options: _P.kwargs) -> _T:
        async def main() -> _T:
            return await work(*args, **options)

        return trio.run(main)

    return run


probe_sync = _in_trio(probe)
probe_sync.__name__ = "probe_sync"
probe_sync.__doc__ = """`probe` for programs without trio, in any thread.

The arguments, the result and the errors are the same.

>>> import tlsprobe
>>> with tlsprobe.reference_server("silent") as address:
...     run = tlsprobe.probe_sync(
...         address, profile="reference", sequences=["fin-only"], trials=2, capture="none")
>>> [(one.kind, str(one.harm), one.count) for one in run.behaviours]
[('no-close-notify', 'noise', 4)]
"""


def judge(folder: str | Path) -> Run:
    """Judge the facts in a results folder with the rules of today; nothing is written.

    Raises:
        UsageError: there are no facts of a run in it, or they are damaged.

    >>> import tlsprobe
    >>> [one.name for one in tlsprobe.judge("tests/data/judged/rude").behaviours]
    ['reset-before-fin/goodbye/unread-data-at-close/ending']
    """
    return judged_now(Path(folder))


def explain(
    capture: str | Path | BinaryIO, *, wanted: Filter = EVERYTHING, key_logs: Iterable[bytes] = ()
) -> tuple[Explanation, ...]:
    """Say how the connections in a capture ended: who sent each reset, why, whom it hurts.

    Args:
        capture: The path of a pcap, a pcapng, either compressed, a tar archive of these, or what
            tcpdump, tshark or Wireshark printed; or an open file of such bytes.
        wanted: Which connections to look at.
        key_logs: Contents of TLS key logs: alerts are then read and not inferred.

    Returns:
        An explanation for each capture: more than one only for an archive.

    Raises:
        UsageError: it cannot be read, or holds no packet.

    >>> import tlsprobe
    >>> (found,) = tlsprobe.explain("tests/data/corpus/aborting-half-close-4.pcapng")
    >>> [(str(told.reset.side), str(told.reset.cause)) for told in found.flows[0].resets]
    [('server', 'unread-data-at-close')]
    """
    source = str(capture) if isinstance(capture, Path) else capture
    return tuple(explain_all(Captures(source), wanted, list(key_logs)))


def failing(run: Run, fail_on: str = "warn") -> tuple[Behaviour, ...]:
    """The behaviours for which ``tlsprobe run --fail-on`` would fail, the most harmful first.

    ``fail_on`` is ``warn``, ``fail`` (a MUST was broken) or ``never``; waived ones are left out.

    >>> import tlsprobe
    >>> run = tlsprobe.judge("tests/data/judged/rude")
    >>> [str(one.harm) for one in tlsprobe.failing(run)], tlsprobe.failing(run, "fail")
    (['breaks'], ())
    """
    _one_of("fail_on", fail_on, tuple(FAIL_ON))
    return tuple(one for one in behaviours_of(run) if counts(one, run, fail_on))


def complaint(run: Run, fail_on: str = "warn") -> str:
    """Why a run fails, for an assertion: each behaviour with its ladder; empty if it does not.

    A cell without an answer is among the reasons unless ``fail_on`` is ``never``.

    >>> import tlsprobe
    >>> print(tlsprobe.complaint(tlsprobe.judge("tests/data/judged/polite")))
    <BLANKLINE>
    """
    _one_of("fail_on", fail_on, tuple(FAIL_ON))
    grave = [one for one in notices_of_run(run, fail_on) if one.weight is Weight.ERROR]
    return "\n\n".join("\n  ".join((one.title, *one.lines)) for one in grave)


def with_waivers(run: Run, file: str | Path) -> Run:
    """The run with the waivers of a ``tlsprobe.toml``, as of today: what they waive fails nothing.

    Raises:
        UsageError: the file cannot be read, or a waiver in it is wrong.
    """
    return waived(run, read_waivers(Path(file)), datetime.now(UTC).date())


@contextmanager
def reference_server(name: str = "polite") -> Iterator[str]:
    """A built-in server for the length of the block, in a process of its own: ``HOST:PORT``.

    ``tlsprobe demo --help`` and `tlsprobe.reference` tell what each of them does. Probe it with
    ``profile="reference"``.

    Raises:
        UsageError: there is no server of this name.
    """
    _one_of("server", name, tuple(BEHAVIOURS))
    command = [sys.executable, "-m", "tlsprobe.reference", name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        if process.stdin is None or process.stdout is None:
            raise AssertionError("both were asked for")
        ports = json.loads(process.stdout.readline() or "{}")
        if name not in ports:
            raise CannotMeasure(f"the built-in server {name} did not start")
        try:
            yield f"127.0.0.1:{ports[name]}"
        finally:
            process.stdin.close()
