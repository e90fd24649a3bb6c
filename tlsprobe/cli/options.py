"""The options that several commands take, and how their values are read.

Options that go together are a dataclass of their own, and a field of those that take them; see
`tlsprobe.cli.taking`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from getpass import getpass
from pathlib import Path
from typing import Annotated

import typer

from tlsprobe.cli.completing import profile_names
from tlsprobe.cli.console import finite
from tlsprobe.cli.panels import CAPTURE_PANEL, OUTPUT_PANEL, TARGET_PANEL, TLS_PANEL
from tlsprobe.errors import UsageError
from tlsprobe.model.target import Login, TlsIdentity, TlsVersion
from tlsprobe.sniff.capture import CHOICES

ConnectionsOption = Annotated[
    int | None,
    typer.Option(
        min=2,
        help="Maximum number of connections open at once, those that wait idle included."
        " Default: what the profile says, else 32 on loopback, 16 elsewhere.",
    ),
]

RateOption = Annotated[
    float | None,
    typer.Option(
        min=0.01,
        callback=finite,
        help="Maximum number of new connections per second. Default: 20, on loopback no limit.",
    ),
]

TlsOption = Annotated[list[TlsVersion] | None, typer.Option(help="1.2 or 1.3. Default: both.")]

PatienceOption = Annotated[
    float,
    typer.Option(
        min=0.1,
        callback=finite,
        help="How long to wait for the server to respond or to end a connection, in seconds.",
    ),
]

VendorsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="VENDOR...",
        help="Names or paths of profiles. Default: all.",
        autocompletion=profile_names,
    ),
]

ProfileOption = Annotated[
    str | None,
    typer.Option(
        help="Profile name ('tlsprobe profiles') or file. Default: guessed from the port, or by"
        " asking.",
        rich_help_panel=TARGET_PANEL,
        autocompletion=profile_names,
    ),
]

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Options, targets and waivers. Default: tlsprobe.toml in the working directory, if it"
        " is there.",
        rich_help_panel=TARGET_PANEL,
    ),
]

WaiversOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Waivers. Default: tlsprobe.toml in the working directory, if it is there.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]

LeanOption = Annotated[bool, typer.Option("--lean", hidden=True)]
"""``--summary-only`` by its old name."""

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


@dataclass(frozen=True, slots=True)
class IdentityOptions:
    """How we present ourselves in the handshake."""

    ca: Annotated[
        Path | None,
        typer.Option(
            help="PEM file to verify the server against; without it, nothing is verified.",
            rich_help_panel=TLS_PANEL,
        ),
    ] = None
    no_verify_name: Annotated[
        bool,
        typer.Option(
            "--no-verify-name",
            help="With --ca, do not check the name in the server's certificate.",
            rich_help_panel=TLS_PANEL,
        ),
    ] = False
    cert: Annotated[
        Path | None,
        typer.Option(help="Client certificate (PEM, with chain).", rich_help_panel=TLS_PANEL),
    ] = None
    key: Annotated[
        Path | None,
        typer.Option(help="Private key of the certificate (PEM).", rich_help_panel=TLS_PANEL),
    ] = None
    sni: Annotated[
        str | None, typer.Option(help="Server name to send (SNI).", rich_help_panel=TLS_PANEL)
    ] = None
    alpn: Annotated[
        list[str] | None,
        typer.Option(help="Protocol to offer in ALPN; repeatable.", rich_help_panel=TLS_PANEL),
    ] = None

    def identity(self, keylog: Path | None = None) -> TlsIdentity:
        """What they say, and where secrets are written."""
        alpn = tuple(self.alpn or ())
        verified = not self.no_verify_name
        private = self.key or self.cert
        opened = None if private is None else _passphrase_of(private)
        return TlsIdentity(self.ca, self.cert, self.key, self.sni, alpn, keylog, verified, opened)


_TERMINAL = Path("/dev/tty")


@cache
def _passphrase_of(key: Path) -> str | None:
    """What opens a private key, asked for once, if it is encrypted. Raises UsageError."""
    from tlsprobe.tls import is_encrypted

    if not is_encrypted(key):
        return None
    try:
        with _TERMINAL.open("rb"):
            return getpass(f"Passphrase of {key}: ")
    except OSError as error:
        hint = f"decrypt it beforehand: openssl pkey -in {key} -out plain.pem"
        message = f"{key} is encrypted, and there is no terminal to ask for its passphrase"
        raise UsageError(message, hint) from error


@dataclass(frozen=True, slots=True)
class LoginOptions:
    """Who we are inside the protocol."""

    user: Annotated[
        str | None, typer.Option(help="User name for the login.", rich_help_panel=TARGET_PANEL)
    ] = None
    database: Annotated[
        str | None, typer.Option(help="Database for the login.", rich_help_panel=TARGET_PANEL)
    ] = None
    password_env: Annotated[
        str | None,
        typer.Option(
            metavar="VAR",
            help="Environment variable that holds the password.",
            rich_help_panel=TARGET_PANEL,
        ),
    ] = None

    def login(self) -> Login:
        """What they say, and the password. Raises UsageError."""
        return Login(self.user, self.database, password_in(self.password_env))


@dataclass(frozen=True, slots=True)
class CaptureOptions:
    """How packets are captured."""

    interface: Annotated[
        str | None,
        typer.Option(
            help="Interface to sniff on. Default: the one of the route.",
            rich_help_panel=CAPTURE_PANEL,
        ),
    ] = None
    capture: Annotated[
        str,
        typer.Option(
            metavar="|".join(CHOICES), help="How to capture packets.", rich_help_panel=CAPTURE_PANEL
        ),
    ] = "auto"
    require_capture: Annotated[
        bool,
        typer.Option(
            "--require-capture",
            help="Exit with 3 instead of measuring without a capture.",
            rich_help_panel=CAPTURE_PANEL,
        ),
    ] = False

    def check(self) -> None:
        """Raises UsageError for a way to capture that there is not."""
        must_be_one_of("--capture", self.capture, CHOICES)


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
