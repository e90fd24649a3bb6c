"""What is known about a kind of server before anything is measured."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tlsprobe.model.target import Login

ANYTHING = re.compile(rb".+", re.DOTALL)
"""The pattern of a response about which only this is known: something arrives."""


@dataclass(frozen=True, slots=True)
class Http1Settings:
    """The ``[protocol]`` table of the ``http1`` adapter.

    ``path`` is the request target, ``large`` one whose response has 1 MiB or more (None: nothing
    large is asked for). ``host`` replaces the target's own name in the Host field.
    """

    path: str = "/"
    large: str | None = None
    host: str | None = None


@dataclass(frozen=True, slots=True)
class PostgresSettings:
    """The ``[protocol]`` table of the ``postgres`` adapter.

    ``query`` is one string of SQL, sent as a simple query; it may return any number of rows but
    must not be a COPY from the client. ``direct`` starts TLS at once, without SSLRequest
    (PostgreSQL 17 and later).
    """

    query: str = "SELECT 1"
    direct: bool = False


@dataclass(frozen=True, slots=True)
class RawSettings:
    r"""The ``[protocol]`` table of the ``raw`` adapter.

    In TOML one character is one byte (``\u00ff`` is byte 255), ``.`` in a pattern matches a newline
    too, and an answer of ``true`` is ANYTHING. None, or the key left out: a request that is not
    answered, a client that speaks first, a protocol without a goodbye. ``opening`` is said inside TLS
    before all else, as a stream's header is, and ``greeting`` then answers it.
    """

    opening: bytes = b""
    request: bytes = b""
    large: bytes | None = None
    response: re.Pattern[bytes] | None = None
    greeting: re.Pattern[bytes] | None = None
    goodbye: bytes | None = None
    goodbye_response: re.Pattern[bytes] | None = None


@dataclass(frozen=True, slots=True)
class Http2Settings:
    """The ``[protocol]`` table of the ``http2`` adapter: the same keys as for ``http1``."""

    path: str = "/"
    large: str | None = None
    host: str | None = None


@dataclass(frozen=True, slots=True)
class MysqlSettings:
    """The ``[protocol]`` table of the ``mysql`` adapter.

    ``query`` is one statement of SQL; None asks with COM_PING instead, which every user may.
    """

    query: str | None = None


@dataclass(frozen=True, slots=True)
class LdapSettings:
    """The ``[protocol]`` table of the ``ldap`` adapter.

    ``starttls`` asks for TLS inside LDAP (RFC 4511 section 4.14) rather than before it (LDAPS).
    """

    starttls: bool = False


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """The ``[protocol]`` table of the ``mqtt`` adapter.

    ``client_id`` None: a new one for each connection; a broker ends the older of two sessions of
    one name. ``keep_alive`` is in seconds, 0 for none; a broker ends the session when it has heard
    nothing for one and a half times as long.
    """

    client_id: str | None = None
    keep_alive: int = 60


@dataclass(frozen=True, slots=True)
class AmqpSettings:
    """The ``[protocol]`` table of the ``amqp`` adapter.

    ``heartbeat`` is in seconds, 0 for none, and None takes what the server proposes. No heartbeats
    are sent, so that the server ends an idle connection when it has missed them.
    """

    heartbeat: int | None = None


PLACEHOLDER = re.compile(r'"\{(?P<quoted>[a-z]+)\}"|\{(?P<bare>[a-z]+)\}')
"""Where a value goes in what a chat sends: a name in braces, alone or between double quotes."""

PLACEHOLDERS = ("user", "password", "database", "host", "plain")
"""The names that PLACEHOLDER may have."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One turn of a chat: what we say, and how we know that it was answered.

    ``send`` is a line without its end, None to speak only when spoken to. PLACEHOLDERS in it are
    filled in: ``user``, ``password`` and ``database`` from the command line or the chat's
    defaults, ``host`` as a URL would name it, and ``plain``, user and password in SASL's PLAIN
    mechanism (RFC 4616) in base64. A value between double quotes has quotes and backslashes in it
    escaped, as IMAP, JSON and Redis want them; no value may hold a control character.

    In the patterns one character is one byte. They are searched in the whole lines of the answer,
    where ``^`` begins any line; the answer ends with the line in which one is found. ``expect``
    None: no answer is owed. ``refused`` is an answer that ends the conversation, told to the user
    with ``hint``. ``optional`` leaves the exchange out where the command line gives none of its
    values; user and password count as one.
    """

    send: str | None = None
    expect: re.Pattern[bytes] | None = None
    refused: re.Pattern[bytes] | None = None
    hint: str | None = None
    optional: bool = False

    @property
    def placeholders(self) -> tuple[str, ...]:
        """The names in braces, in order, known or not."""
        found = PLACEHOLDER.finditer(self.send or "")
        return tuple(match["quoted"] or match["bare"] for match in found)


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """The ``[protocol]`` table of the ``chat`` adapter: a protocol of lines, as a script.

    ``plain`` is said before TLS and ends where the handshake may begin (none: TLS from the start),
    ``greeting`` inside it until the server would take a request. ``request`` and ``goodbye`` may
    be said at any time after. ``refused`` stands for that of each exchange that has none;
    ``defaults`` for what the command line does not say.
    """

    request: Exchange = Exchange()
    plain: tuple[Exchange, ...] = ()
    greeting: tuple[Exchange, ...] = ()
    goodbye: Exchange | None = None
    refused: re.Pattern[bytes] | None = None
    defaults: Login = field(default_factory=Login)


Settings = (
    AmqpSettings
    | ChatSettings
    | Http1Settings
    | Http2Settings
    | LdapSettings
    | MqttSettings
    | MysqlSettings
    | PostgresSettings
    | RawSettings
)
"""What an adapter can be told, one class for each adapter."""


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
    *("program", "host", "port", "spare", "spare2", "folder", "user", "group", "idle", "idle_ms"),
    *("cert", "key", "ca", "bundle", "pkcs12", "client_cert", "client_key"),
)
"""The names that LAB_PLACEHOLDER may have in every profile."""

LAB_BEHIND = ("behind_host", "behind_port", "behind_spare")
"""The names for the server that another stands in front of."""


@dataclass(frozen=True, slots=True)
class Lab:
    """The ``[lab]`` table: how to get, start, know and stop a real server. Durations in seconds.

    Commands and templates hold LAB_PLACEHOLDERS and those of ``values``. ``program`` are places to
    look for the server in, in order; ``packages`` are Debian's, ``pip`` and ``npm`` requirements;
    ``build`` runs once in the tools folder; ``needs`` are commands that somebody else must have
    brought. ``prepare`` runs before each start, in the server's own folder, into which
    ``templates`` were rendered. ``ready`` is searched in the server's output; None: it is ready
    once it accepts. ``stop`` is the name of a signal. ``idle`` is the timeout that the templates
    set, 0 where there is none, and ``idle_directive`` what sets it. ``behind`` is a vendor to be
    started before, ``also`` are profiles to probe the same running server with;
    ``protocol`` holds keys of the ``[protocol]`` table that are different in the lab.
    ``concurrency`` is how many connections at a time it can take, ``patience`` how long a close of
    its takes at most, where the lab's own patience is too short.
    """

    folder: Path
    start: Command
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
    ready_within: float = 20.0
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
    alpn: tuple[str, ...] | None = None
    sequences: tuple[str, ...] = ()
    notes: str = ""


@dataclass(frozen=True, slots=True)
class Profile:
    """A kind of server, as its ``profile.toml`` tells it.

    ``protocol`` names the adapter and ``settings`` are its. ``idle_s`` is the documented idle
    timeout in seconds and ``idle_source`` where it is documented; None where there is none.
    ``sequences`` names what to run by default, empty for everything that applies. ``alpn`` None
    leaves the offer to the adapter. ``image`` is a container image to try the server with. ``lab``
    is there for a vendor: a server that the lab can start. ``like`` is the profile that said what
    this one's file left out.
    """

    name: str
    title: str
    port: int
    protocol: str
    settings: Settings
    notes: str = ""
    idle_s: float | None = None
    idle_source: str | None = None
    sequences: tuple[str, ...] = ()
    alpn: tuple[str, ...] | None = None
    image: str | None = None
    directives: tuple[Directive, ...] = ()
    lab: Lab | None = None
    like: str | None = None
