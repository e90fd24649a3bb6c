"""``tlsprobe run``: drive the sequences, sniff, judge, write a results folder, print the matrix."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Annotated

import trio
import typer

from tlsprobe.catalogue import default_sequences, find_sequence
from tlsprobe.cli.console import complain, err, out
from tlsprobe.cli.probing import Desk, Job, interruptible, probe, progress_of, verdict_exit
from tlsprobe.cli.results import default_folder, slug
from tlsprobe.drive.script import Patience
from tlsprobe.errors import CannotMeasure, TlsprobeError, UsageError
from tlsprobe.model.profile import Profile
from tlsprobe.model.run import Run
from tlsprobe.model.sequence import Sequence, Verb
from tlsprobe.model.target import Login, Target, TlsIdentity, TlsVersion, endpoint
from tlsprobe.profiles import list_profiles, load_profile
from tlsprobe.protocols import has_goodbye, make_conversation
from tlsprobe.report.document import encode_run_line
from tlsprobe.report.terminal import print_report
from tlsprobe.runner.settings import Settings
from tlsprobe.wire.sniffer import CHOICES

IDLE_LIMIT = 75.0
"""Seconds that idle sequences wait where the profile documents no timeout."""

_TARGET, _TLS, _CAPTURE, _SAY = "Target", "TLS", "Capture", "Output"


def run(  # noqa: PLR0917 - the options of the command line are its arguments
    target: Annotated[
        list[str],
        typer.Option(
            help="HOST:PORT, or [IPv6]:PORT; repeat for several.", rich_help_panel=_TARGET
        ),
    ],
    profile: Annotated[
        str | None,
        typer.Option(
            help="A kind of server ('tlsprobe profiles') or a profile file; else the port tells.",
            rich_help_panel=_TARGET,
        ),
    ] = None,
    sequence: Annotated[
        list[str] | None,
        typer.Option(
            help="A name ('tlsprobe sequences'), a file, or steps: 'request; close_notify + fin;"
            " drain'. Repeat for several. Default: the profile's."
        ),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Connections a cell.")] = 5,
    concurrency: Annotated[int, typer.Option(min=1, max=512, help="Connections at a time.")] = 16,
    rate: Annotated[
        float | None, typer.Option(min=0.01, help="New connections a second, at most.")
    ] = None,
    tls: Annotated[
        list[TlsVersion] | None, typer.Option(help="1.2 or 1.3; both by default.")
    ] = None,
    patience: Annotated[
        float, typer.Option(min=0.1, help="Seconds to wait for the server before calling it open.")
    ] = 5.0,
    idle_limit: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            help="Seconds the idle sequences wait. Default: the profile's timeout and 10 %.",
        ),
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option(
            help="PEM file to verify the server with; without it, nothing is verified.",
            rich_help_panel=_TLS,
        ),
    ] = None,
    cert: Annotated[
        Path | None,
        typer.Option(help="Client certificate (PEM, with chain).", rich_help_panel=_TLS),
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="Its private key (PEM).", rich_help_panel=_TLS)
    ] = None,
    sni: Annotated[
        str | None, typer.Option(help="Server name to ask for.", rich_help_panel=_TLS)
    ] = None,
    alpn: Annotated[
        list[str] | None,
        typer.Option(help="Protocol to offer in ALPN; repeat for several.", rich_help_panel=_TLS),
    ] = None,
    keylog: Annotated[
        Path | None,
        typer.Option(
            help="Append TLS secrets to this file, for Wireshark.",
            envvar="SSLKEYLOGFILE",
            rich_help_panel=_TLS,
        ),
    ] = None,
    user: Annotated[
        str | None, typer.Option(help="User name in the protocol.", rich_help_panel=_TARGET)
    ] = None,
    database: Annotated[
        str | None, typer.Option(help="Database in the protocol.", rich_help_panel=_TARGET)
    ] = None,
    password_env: Annotated[
        str | None,
        typer.Option(
            metavar="VAR", help="Environment variable with the password.", rich_help_panel=_TARGET
        ),
    ] = None,
    interface: Annotated[
        str | None,
        typer.Option(help="Interface to sniff on. Default: by route.", rich_help_panel=_CAPTURE),
    ] = None,
    capture: Annotated[
        str,
        typer.Option(
            metavar="|".join(CHOICES), help="How to see the wire.", rich_help_panel=_CAPTURE
        ),
    ] = "auto",
    require_capture: Annotated[
        bool,
        typer.Option(
            "--require-capture",
            help="Exit 3 rather than measure without a capture.",
            rich_help_panel=_CAPTURE,
        ),
    ] = False,
    out_dir: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Results folder. Default: results/<UTC time>-<target>.",
            rich_help_panel=_SAY,
        ),
    ] = None,
    json: Annotated[
        bool,
        typer.Option("--json", help="Print the run document alone.", rich_help_panel=_SAY),
    ] = False,
    fail_on: Annotated[
        str,
        typer.Option(
            metavar="fail|warn|never", help="Exit 1 from this verdict on.", rich_help_panel=_SAY
        ),
    ] = "fail",
    quiet: Annotated[
        bool, typer.Option("--quiet", help="No progress, no notes.", rich_help_panel=_SAY)
    ] = False,
    no_color: Annotated[
        bool,
        typer.Option("--no-color", help="No colour; NO_COLOR works too.", rich_help_panel=_SAY),
    ] = False,
) -> None:
    """Drive close sequences against a server, sniff, and say who resets whom and why.

    Example: tlsprobe run --target db.example:5432 --profile postgres --user me

    Exit codes: 0 nothing at or above --fail-on; 1 something was; 2 the command line, profile or
    sequence is wrong; 3 nothing could be measured; 130 interrupted, what was measured is kept.
    """
    _one_of("--fail-on", fail_on, ("fail", "warn", "never"))
    _one_of("--capture", capture, CHOICES)
    identity = TlsIdentity(ca, cert, key, sni, tuple(alpn or ()), keylog)
    login = Login(user, database, _password(password_env))
    jobs = []
    for text in target:
        chosen = load_profile(profile or guess_profile(text))
        server = parse_target(text, chosen)
        converse = make_conversation(chosen, sni or server.host, login, server.port)
        limit = idle_limit or (chosen.idle_s * 1.1 + 1 if chosen.idle_s else IDLE_LIMIT)
        settings = Settings(
            trials=trials,
            concurrency=concurrency,
            rate=rate,
            tls=tuple(dict.fromkeys(tls or TlsVersion)),
            patience=Patience(patience, limit),
            identity=identity,
            capture=capture,
            require_capture=require_capture,
            interface=interface,
        )
        folder = _folder(out_dir, server, len(target))
        jobs.append(Job(server, converse, choose_sequences(chosen, sequence), settings, folder))
    desk = Desk(err(no_color), quiet)
    if profile is None and not quiet:
        names = ", ".join(dict.fromkeys(job.target.profile for job in jobs))
        desk.note(f"profile {names}, guessed from the port (--profile says otherwise)")
    runs, failure = trio.run(_probe_all, jobs, desk)
    _present(runs, json, no_color, desk)
    if failure is not None:
        complain(failure)
        raise typer.Exit(failure.exit_code)
    if any(done.interrupted for done in runs):
        raise typer.Exit(130)
    raise typer.Exit(verdict_exit(runs, fail_on))


async def _probe_all(jobs: list[Job], desk: Desk) -> tuple[list[Run], TlsprobeError | None]:
    """Probe target after target; a failure keeps the runs before it."""
    runs: list[Run] = []
    with progress_of(desk):
        async with interruptible(desk.note) as stop:
            for job in jobs:
                if stop.is_set():
                    break
                try:
                    runs.append(await probe(job, desk, stop))
                except CannotMeasure as error:
                    if len(jobs) == 1 or job is jobs[-1]:
                        return runs, error
                    complain(error)
    return runs, None


def _present(runs: list[Run], json: bool, no_color: bool, desk: Desk) -> None:
    if json:
        for done in runs:
            sys.stdout.buffer.write(encode_run_line(done))
        sys.stdout.flush()
    elif runs:
        print_report(out(no_color), runs)


def parse_target(text: str, profile: Profile) -> Target:
    """``HOST:PORT``, ``[IPv6]:PORT`` or a host alone. Raises UsageError."""
    match = re.fullmatch(r"(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:\[\]]+))(?::(?P<port>\d+))?", text)
    if match is None:
        hint = "write HOST:PORT, and an IPv6 address in brackets: [::1]:5432"
        raise UsageError(f"cannot read the target '{text}'", hint)
    host = match["v6"] or match["host"]
    port = int(match["port"] or profile.port)
    if not 0 < port < 2**16:
        raise UsageError(f"the port in '{text}' is not between 1 and 65535")
    return Target(endpoint(host, port), host, port, profile.name, profile.protocol)


def guess_profile(text: str) -> str:
    """The profile whose default port this is; ``https`` where several share it, else ``raw``."""
    port = text.rpartition(":")[2] if ":" in text and not text.endswith("]") else "443"
    names = [name for name in list_profiles() if str(load_profile(name).port) == port]
    if "https" in names or port in {"8443", "443"}:
        return "https"
    return names[0] if len(names) == 1 else "raw"


def choose_sequences(profile: Profile, asked: list[str] | None) -> tuple[Sequence, ...]:
    """The sequences that were asked for, else the profile's, else all that apply."""
    goodbye = has_goodbye(profile)
    names = asked or profile.sequences
    if not names:
        return default_sequences(goodbye, ends_idle=True)
    chosen = tuple(dict.fromkeys(find_sequence(name) for name in names))
    for sequence in chosen:
        if sequence.uses(Verb.TERMINATE) and not goodbye:
            hint = "give the profile a 'goodbye' under [protocol], or choose another sequence"
            raise UsageError(
                f"'{sequence.name}' needs a goodbye, and the profile '{profile.name}' has none",
                hint,
            )
    return chosen


def _password(variable: str | None) -> str | None:
    if variable is None:
        return None
    if variable not in os.environ:
        hint = f"set it for this command only: {variable}=... tlsprobe run ..."
        raise UsageError(f"--password-env: there is no environment variable {variable}", hint)
    return os.environ[variable]


def _folder(out_dir: Path | None, target: Target, targets: int) -> Path:
    if out_dir is None:
        return default_folder(target.host, target.port)
    return out_dir if targets == 1 else out_dir / slug(str(target))


def _one_of(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(f"{option} '{value}' is not one of {', '.join(choices)}")
