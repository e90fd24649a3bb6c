"""Sans-IO protocol adapters: greet, one request, one goodbye."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tlsprobe.model.profile import Profile
from tlsprobe.model.target import Login, Target
from tlsprobe.model.verbs import Form
from tlsprobe.protocols.amqp import AMQP
from tlsprobe.protocols.chat import CHAT
from tlsprobe.protocols.conversation import Conversation, Phase
from tlsprobe.protocols.ftps import FTPS_DATA
from tlsprobe.protocols.http1 import HTTP1
from tlsprobe.protocols.http2 import HTTP2
from tlsprobe.protocols.ldap import LDAP
from tlsprobe.protocols.mqtt import MQTT
from tlsprobe.protocols.mysql import MYSQL
from tlsprobe.protocols.postgres import POSTGRES
from tlsprobe.protocols.protocol import Conversations, Peer, Protocol
from tlsprobe.protocols.raw import RAW
from tlsprobe.protocols.websocket import WEBSOCKET

__all__ = [
    "PROTOCOLS",
    "Conversation",
    "Conversations",
    "Phase",
    "Protocol",
    "has_goodbye",
    "is_commanded",
    "make_conversation",
    "offers",
    "phrases",
    "protocol_of",
    "spoken",
]

_ALL = (HTTP1, HTTP2, WEBSOCKET, MYSQL, LDAP, MQTT, AMQP, CHAT, FTPS_DATA, POSTGRES, RAW)

PROTOCOLS: Mapping[str, Protocol[Any]] = {protocol.name: protocol for protocol in _ALL}
"""The registry: every protocol by the name of its adapter."""

NO_TEXT = (b"\xff", b"\x00")
"""Bytes that no text has."""

MOST_OF_A_PHRASE = 512
"""Bytes of the longest phrase: it is printed as a part of a sequence."""

_BY_SETTINGS: Mapping[type, Protocol[Any]] = {protocol.settings: protocol for protocol in _ALL}


def protocol_of(profile: Profile) -> Protocol[Any]:
    """The protocol that a profile's settings are for."""
    return _BY_SETTINGS[type(profile.settings)]


def spoken(target: Target) -> str:
    """The protocol by the name that rules know: a script is whatever its profile is called."""
    known = PROTOCOLS.get(target.protocol)  # None: what rules know beside the adapters
    return target.profile if known is not None and known.named_by_profile else target.protocol


def make_conversation(
    profile: Profile, host: str, login: Login, port: int | None = None
) -> Conversations:
    """Prepare the profile's protocol once; call the result for every connection.

    ``host`` and ``port`` are those of Peer. Raises UsageError for settings or a login that the
    protocol cannot carry.
    """
    peer = Peer(host, port, login)
    make: Conversations = protocol_of(profile).converse(profile.settings, peer)
    alpn = profile.alpn
    if alpn is None:
        return make

    def offering() -> Conversation:
        conversation = make()
        conversation.alpn = alpn
        return conversation

    return offering


def offers(converse: Conversations) -> frozenset[Form]:
    """The forms of a request that the protocol has, besides the plain one and parts of it."""
    return frozenset(form for form, ask in converse().asks.items() if ask() is not None)


def phrases(converse: Conversations) -> tuple[bytes, ...]:
    """Short phrases of the protocol's own words that a client has no reason to say like this.

    Half of a goodbye; the end of a request by itself; where one request is like another, two of
    them, or one and the goodbye, in one record; and bytes that are no text, by themselves and in a
    request, since parsers trip over them.
    """
    one = converse()
    request, another, goodbye = one.request(), one.request(), converse().goodbye() or b""
    made = [goodbye[: len(goodbye) // 2], request[-1:]]
    if request == another:
        made += [request * 2, request + goodbye]
    half = len(request) // 2
    made += [*NO_TEXT, request[:half] + NO_TEXT[0] + request[half:]]
    others = {b"", request, goodbye}
    return tuple(dict.fromkeys(m for m in made if m not in others and len(m) <= MOST_OF_A_PHRASE))


def is_commanded(converse: Conversations) -> bool:
    """Whether what is probed are connections that another one asks for, to ports it is told."""
    return converse().control is not None


def has_goodbye(profile: Profile) -> bool:
    """Whether the protocol has a goodbye of its own, so that ``terminate`` means something."""
    return protocol_of(profile).has_goodbye(profile.settings)
