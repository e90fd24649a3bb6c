"""What is known about a kind of server before anything is measured."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tlsprobe.model.sequence import ConnectionLimit, Signal
from tlsprobe.model.target import Login


class ProtocolSettings:
    """The settings of an adapter, its ``[protocol]`` table: each protocol has a kind of its own.

    They lie beside their adapters, in ``protocols``.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Directive:
    """A setting of the server that changes how it ends connections, and in which way."""

    name: str
    effect: str


Command = tuple[str, ...]
"""A program and its arguments; no shell reads them."""

LAB_PLACEHOLDER = re.compile(r"@([a-z][a-z0-9_]*)@")
"""Where a value goes in the commands and templates of a ``[lab]`` table."""

LAB_PLACES = ("tools", "profile")
"""The names that are known before a server was found: what is built is built with these."""

LAB_PLACEHOLDERS = (
    *LAB_PLACES,
    *(
        "program",
        "host",
        "in_url",
        "port",
        "spare",
        "spare2",
        "folder",
        "user",
        "group",
        "idle",
        "idle_ms",
    ),
    *("cert", "key", "ca", "bundle", "pkcs12", "client_cert", "client_key"),
)
"""The names that LAB_PLACEHOLDER may have in every profile."""

WITH = "+"
"""What stands between a vendor and a remedy that it is measured with."""

LAB_BEHIND = ("behind_host", "behind_port", "behind_spare")
"""The names for the server that another stands in front of."""


@dataclass(frozen=True, slots=True)
class LabVersion:
    """One version of a vendor's server that the lab can get beside others, and from where.

    One of four says from where: ``suite`` is a suite of Debian, whose packages are unpacked into a
    root of their own; ``pip`` and ``npm`` are requirements; ``go`` is the toolchain that builds
    it. The others take the place of what the ``[lab]`` table says, ``values`` key by key.
    """

    suite: str | None = None
    pip: tuple[str, ...] = ()
    npm: tuple[str, ...] = ()
    go: str | None = None
    packages: tuple[str, ...] = ()
    program: tuple[str, ...] = ()
    start: Command = ()
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LabChange:
    """What a server's own notes say of a change in how it closes: ``[[lab.changes]]``.

    ``since`` is the first version that has it, ``about`` are the kinds of behaviour that it
    explains, ``source`` is where the notes can be read.
    """

    since: str
    about: tuple[str, ...]
    says: str
    source: str


@dataclass(frozen=True, slots=True)
class LabRemedy:
    """Something that people do against how a server closes: ``[[lab.remedies]]``.

    ``says`` it in the words of a configuration or of a client. It is ``against`` kinds of
    behaviour, such as ``reset-after-fin``, in ``sequences``. A server's is tried with other
    ``values`` in its templates, a client's by closing as the sequence ``instead`` does.
    """

    name: str
    says: str
    against: tuple[str, ...]
    sequences: tuple[str, ...]
    values: Mapping[str, str] = field(default_factory=dict)
    instead: str = ""

    def on(self, vendor: str) -> str:
        """Where this is measured: a client's on the vendor as it is, a server's beside it."""
        return vendor if self.instead else f"{vendor}{WITH}{self.name}"


@dataclass(frozen=True, slots=True)
class Lab:
    """The ``[lab]`` table: how to get, start, know and stop a real server. Durations in seconds.

    ``image`` is a container image that ``start`` runs in; ``program`` is looked for nowhere then.
    Commands and templates hold LAB_PLACEHOLDERS and those of ``values``. ``program`` are places to
    look for the server in, in order; ``packages`` are Debian's, ``pip`` and ``npm`` requirements;
    ``build`` runs once in the tools folder; ``needs`` are commands that somebody else must have
    brought. ``prepare`` runs before each start, in the server's own folder, into which
    ``templates`` were rendered. ``ready`` is searched in the server's output; None: it is ready
    once it accepts. ``stop`` is the name of a signal. ``idle`` is the timeout that the templates
    set, 0 where there is none, and ``idle_directive`` what sets it. ``behind`` is a vendor to be
    started before, ``also`` are profiles to probe the same running server with;
    ``protocol`` holds keys of the ``[protocol]`` table that are different in the lab.
    ``limits`` are those on a connection that the server has in each protocol, and that the
    templates set low: of the chapter ``limits``, the rest is not asked; None: all is asked.
    ``concurrency`` is how many connections at a time it can take, ``patience`` how long a close of
    its takes at most, where the lab's own patience is too short. ``versions`` are those that the
    lab can get beside each other, by name; ``suite`` is there for one of them that runs in a root
    of that suite's packages, in the tools folder. ``changes`` is what the server's notes say of
    changes from one version to another, ``remedies`` what can be tried against how it closes.
    """

    folder: Path
    start: Command
    image: str | None = None
    title: str | None = None
    program: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    pip: tuple[str, ...] = ()
    npm: tuple[str, ...] = ()
    build: tuple[Command, ...] = ()
    needs: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    prepare: tuple[Command, ...] = ()
    as_user: bool = False
    user: str = "nobody"
    env: Mapping[str, str] = field(default_factory=dict)
    ready: re.Pattern[str] | None = None
    ready_within: float = 60.0
    stop: str = "TERM"
    version: Command = ()
    version_pattern: re.Pattern[str] = re.compile(r"(\d+(?:\.\d+)+[\w.+~-]*)")
    tls_library: str | None = None
    tls_version: Command = ()
    tls_pattern: re.Pattern[str] = re.compile(r"(\S+ \d+(?:\.\d+)+[\w.+~-]*)")
    idle: int = 0
    idle_directive: str | None = None
    behind: str | None = None
    also: tuple[str, ...] = ()
    login: Login = field(default_factory=Login)
    client_cert: bool = False
    concurrency: int = 16
    patience: float | None = None
    protocol: Mapping[str, object] = field(default_factory=dict)
    limits: Mapping[str, frozenset[ConnectionLimit]] | None = None
    alpn: tuple[str, ...] | None = None
    sequences: tuple[str, ...] = ()
    notes: str = ""
    versions: Mapping[str, LabVersion] = field(default_factory=dict)
    suite: str | None = None
    changes: tuple[LabChange, ...] = ()
    remedies: tuple[LabRemedy, ...] = ()


@dataclass(frozen=True, slots=True)
class Profile:
    """A kind of server, as its ``profile.toml`` describes it.

    ``protocol`` names the adapter and ``settings`` are its. ``idle_s`` is the documented idle
    timeout in seconds and ``idle_source`` where it is documented; None where there is none.
    ``connections`` is how many of ours it has room for, None where it has many.
    ``sequences`` names what to run by default, empty for everything that applies. ``alpn`` None
    leaves the offer to the adapter. ``signals`` names the signals that tell its process to stop at
    once, to drain and stop, to reload. ``image`` is a container image to try the server with.
    ``lab`` is there for a vendor: a server that the lab can start. ``like`` is the profile that
    said what this one's file left out.
    """

    name: str
    title: str
    port: int
    protocol: str
    settings: ProtocolSettings
    notes: str = ""
    idle_s: float | None = None
    idle_source: str | None = None
    connections: int | None = None
    sequences: tuple[str, ...] = ()
    alpn: tuple[str, ...] | None = None
    image: str | None = None
    directives: tuple[Directive, ...] = ()
    signals: Mapping[Signal, str] = field(default_factory=dict)
    lab: Lab | None = None
    like: str | None = None
