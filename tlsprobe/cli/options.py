"""The options that several commands take, and how their values are read."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

import typer

from tlsprobe.errors import UsageError
from tlsprobe.model.profile import Profile
from tlsprobe.model.target import Target, TlsVersion, endpoint
from tlsprobe.profiles import list_profiles, load_profile
from tlsprobe.sniff.capture import CHOICES

TARGET_PANEL, TLS_PANEL, CAPTURE_PANEL, OUTPUT_PANEL = "Target", "TLS", "Capture", "Output"
"""The headings under which ``--help`` lists them."""

RateOption = Annotated[
    float | None, typer.Option(min=0.01, help="Maximum number of new connections per second.")
]

TlsOption = Annotated[list[TlsVersion] | None, typer.Option(help="1.2 or 1.3. Default: both.")]

PatienceOption = Annotated[
    float, typer.Option(min=0.1, help="How long to wait for the server to close, in seconds.")
]

CaOption = Annotated[
    Path | None,
    typer.Option(
        help="PEM file to verify the server against; without it, nothing is verified.",
        rich_help_panel=TLS_PANEL,
    ),
]

NoVerifyNameOption = Annotated[
    bool,
    typer.Option(
        "--no-verify-name",
        help="With --ca, do not check the name in the server's certificate.",
        rich_help_panel=TLS_PANEL,
    ),
]

CertOption = Annotated[
    Path | None,
    typer.Option(help="Client certificate (PEM, with chain).", rich_help_panel=TLS_PANEL),
]

KeyOption = Annotated[
    Path | None,
    typer.Option(help="Private key of the certificate (PEM).", rich_help_panel=TLS_PANEL),
]

SniOption = Annotated[
    str | None, typer.Option(help="Server name to send (SNI).", rich_help_panel=TLS_PANEL)
]

AlpnOption = Annotated[
    list[str] | None,
    typer.Option(help="Protocol to offer in ALPN; repeatable.", rich_help_panel=TLS_PANEL),
]

UserOption = Annotated[
    str | None, typer.Option(help="User name for the login.", rich_help_panel=TARGET_PANEL)
]

DatabaseOption = Annotated[
    str | None, typer.Option(help="Database for the login.", rich_help_panel=TARGET_PANEL)
]

PasswordEnvOption = Annotated[
    str | None,
    typer.Option(
        metavar="VAR",
        help="Environment variable that holds the password.",
        rich_help_panel=TARGET_PANEL,
    ),
]

InterfaceOption = Annotated[
    str | None,
    typer.Option(
        help="Interface to sniff on. Default: the one of the route.", rich_help_panel=CAPTURE_PANEL
    ),
]

CaptureOption = Annotated[
    str,
    typer.Option(
        metavar="|".join(CHOICES), help="How to capture packets.", rich_help_panel=CAPTURE_PANEL
    ),
]

QuietOption = Annotated[
    bool,
    typer.Option("--quiet", help="Print no progress and no notes.", rich_help_panel=OUTPUT_PANEL),
]

NoColorOption = Annotated[
    bool,
    typer.Option(
        "--no-color", help="Print no colour; NO_COLOR works, too.", rich_help_panel=OUTPUT_PANEL
    ),
]


def parse_target(text: str, profile: Profile) -> Target:
    """``HOST:PORT``, ``[IPv6]:PORT`` or a host alone. Raises UsageError."""
    match = re.fullmatch(r"(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:\[\]]+))(?::(?P<port>\d+))?", text)
    if match is None:
        hint = "write HOST:PORT, with an IPv6 address in brackets: [::1]:5432"
        raise UsageError(f"cannot read the target '{text}'", hint)
    host = match["v6"] or match["host"]
    port = int(match["port"] or profile.port)
    if not 0 < port < 2**16:
        raise UsageError(f"the port in '{text}' is not between 1 and 65535")
    return Target(endpoint(host, port), host, port, profile.name, profile.protocol)


def guess_profile(text: str) -> str:
    """The profile whose default port this is; ``https`` where several share it, else ``raw``.

    One that is like another does not count: nothing is known of the vendor.
    """
    port = text.rpartition(":")[2] if ":" in text and not text.endswith("]") else "443"
    known = [profile for profile in map(load_profile, list_profiles()) if profile.like is None]
    names = [profile.name for profile in known if str(profile.port) == port]
    if "https" in names or port in {"8443", "443"}:
        return "https"
    return names[0] if len(names) == 1 else "raw"


def password_in(variable: str | None) -> str | None:
    """The value of an environment variable that has to be there. Raises UsageError."""
    if variable is None:
        return None
    if variable not in os.environ:
        hint = f"set it for this command only: {variable}=... tlsprobe ..."
        raise UsageError(f"--password-env: no environment variable {variable}", hint)
    return os.environ[variable]


def must_be_one_of(option: str, value: str, choices: tuple[str, ...]) -> None:
    """Raises UsageError for a value that is none of the choices."""
    if value not in choices:
        raise UsageError(f"{option} '{value}' is not one of {', '.join(choices)}")
