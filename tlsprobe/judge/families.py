"""Which server it is, as it names itself, and what its settings are called.

A remedy names a setting only of the server at hand. One that says nothing of itself has none here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # `explain` of a capture does without
    from tlsprobe.model.run import Run


class Family(NamedTuple):
    """Servers with the same settings: ``says`` is a pattern of what they call themselves.

    ``idle`` sets how long a connection may be idle, ``lingers`` has the server read on after its
    FIN, ``resets`` has it reset connections that time out, and ``heeds_abort`` has it answer a
    client that has ended its own direction. None where it has, or we know, no such thing.
    """

    name: str
    says: str
    idle: str | None = None
    lingers: str | None = None
    resets: str | None = None
    heeds_abort: str | None = None


FAMILIES = (
    Family(
        "nginx",
        r"nginx|openresty|apisix|tengine|angie|kong/",
        idle="keepalive_timeout",
        lingers="lingering_close always",
        resets="reset_timedout_connection",
        heeds_abort="proxy_ignore_client_abort on",
    ),
    Family("Apache", r"apache/\d|apache$", idle="KeepAliveTimeout"),
    Family("Envoy", r"^envoy|istio-envoy", idle="common_http_protocol_options.idle_timeout"),
    Family("Caddy", r"^caddy", idle="servers > timeouts > idle"),
    Family("lighttpd", r"^lighttpd", idle="server.max-keep-alive-idle"),
    Family("Jetty", r"^jetty", idle="idleTimeout"),
    Family("Gunicorn", r"^gunicorn", idle="keepalive"),
    Family("Uvicorn", r"^uvicorn", idle="--timeout-keep-alive"),
    Family("IIS", r"^microsoft-iis", idle="connectionTimeout"),
)
"""The families that are known, first match first."""


_PASSING_ON = re.compile(
    r"envoy-tcp|ghostunnel|haproxy|hitch|nghttpx|pgbouncer|socat|squid|stunnel|traefik"
    r"|trafficserver|varnish"
)
"""Profiles of servers behind which another one answers, and says what it is called itself."""


FORWARDER = Family("forwarder", "")
"""A program that passes bytes on: the TCP connection is its own, and the TLS inside another's."""


def family_of(
    server_says: str, vendor: str = "", *, passed_on: bool = False, ended_by: str = ""
) -> Family | None:
    """The family of a server that calls itself this; None if it is none of ours.

    Nor if the profile of its ``vendor`` is one of a proxy: what names itself then stands behind it,
    and closes no connection of ours. Nor where our TLS is ``ended_by`` a program in front of it,
    unless that one is of a family itself. ``passed_on``: a program there passes bytes on.
    """
    if passed_on:
        return FORWARDER
    if _PASSING_ON.match(vendor):
        return None
    said = (ended_by or server_says).strip().lower()
    return next((family for family in FAMILIES if said and re.search(family.says, said)), None)


def family_in(run: Run) -> Family | None:
    """The family of the server that a run document is about."""
    return family_of(run.server_says, run.vendor, passed_on=run.passed_on, ended_by=run.ended_by)
