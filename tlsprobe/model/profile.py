"""What is known about a kind of server before anything is measured."""

from __future__ import annotations

import re
from dataclasses import dataclass

ANYTHING = re.compile(rb".+", re.DOTALL)
"""The pattern of a response about which only this is known: something arrives."""


@dataclass(frozen=True, slots=True)
class Http1Settings:
    """The ``[protocol]`` table of the ``http1`` adapter.

    ``path`` is the request target. ``host`` replaces the target's own name in the Host field.
    """

    path: str = "/"
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
    answered, a client that speaks first, a protocol without a goodbye.
    """

    request: bytes = b""
    response: re.Pattern[bytes] | None = None
    greeting: re.Pattern[bytes] | None = None
    goodbye: bytes | None = None
    goodbye_response: re.Pattern[bytes] | None = None


Settings = Http1Settings | PostgresSettings | RawSettings
"""What an adapter can be told, one class for each adapter."""


@dataclass(frozen=True, slots=True)
class Directive:
    """A setting of the server that changes how it ends connections, and in which way."""

    name: str
    effect: str


@dataclass(frozen=True, slots=True)
class Profile:
    """A kind of server, as its ``profile.toml`` tells it.

    ``protocol`` names the adapter and ``settings`` are its. ``idle_s`` is the documented idle
    timeout in seconds and ``idle_source`` where it is documented; None where there is none.
    ``sequences`` names what to run by default, empty for everything that applies. ``alpn`` None
    leaves the offer to the adapter. ``image`` is a container image to try the server with.
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
