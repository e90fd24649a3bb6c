"""Sans-IO protocol adapters: greet, one request, one goodbye."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from tlsprobe.model.profile import (
    AmqpSettings,
    ChatSettings,
    Http1Settings,
    Http2Settings,
    LdapSettings,
    MqttSettings,
    MysqlSettings,
    PostgresSettings,
    Profile,
    RawSettings,
)
from tlsprobe.model.sequence import Form
from tlsprobe.model.target import Login
from tlsprobe.protocols.amqp import amqp
from tlsprobe.protocols.chat import chat
from tlsprobe.protocols.conversation import Conversation, Phase
from tlsprobe.protocols.http1 import http1
from tlsprobe.protocols.http2 import http2
from tlsprobe.protocols.ldap import ldap
from tlsprobe.protocols.mqtt import mqtt
from tlsprobe.protocols.mysql import mysql
from tlsprobe.protocols.postgres import postgres
from tlsprobe.protocols.raw import raw

__all__ = ["Conversation", "Conversations", "Phase", "has_goodbye", "make_conversation", "offers"]

Conversations = Callable[[], Conversation]
"""Makes a fresh conversation, one for each connection."""


def make_conversation(
    profile: Profile, host: str, login: Login, port: int | None = None
) -> Conversations:
    """Prepare the profile's protocol once; call the result for every connection.

    ``host`` is what a URL would say: the server name where one was given (``--sni``), else the
    target's host, an IPv6 address without brackets. Raises UsageError for settings or a login
    that the protocol cannot carry.
    """
    make = _adapter(profile, host, login, port)
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
    forms = {Form.LARGE: converse().large(), Form.UPLOAD: converse().upload()}
    return frozenset(form for form, request in forms.items() if request is not None)


def has_goodbye(profile: Profile) -> bool:
    """Whether the protocol has a goodbye of its own, so that ``terminate`` means something."""
    match profile.settings:
        case ChatSettings(goodbye=goodbye) | RawSettings(goodbye=goodbye):
            return goodbye is not None
        case _:
            return True


def _adapter(  # noqa: PLR0911 - one for each adapter
    profile: Profile, host: str, login: Login, port: int | None
) -> Conversations:
    match profile.settings:
        case AmqpSettings() as settings:
            return amqp(settings, login)
        case ChatSettings() as settings:
            return chat(settings, host, login)
        case Http1Settings() as settings:
            return http1(settings, host, port)
        case Http2Settings() as settings:
            return http2(settings, host, port)
        case LdapSettings() as settings:
            return ldap(settings, login)
        case MqttSettings() as settings:
            return mqtt(settings, login)
        case MysqlSettings() as settings:
            return mysql(settings, login)
        case PostgresSettings() as settings:
            return postgres(settings, login)
        case RawSettings() as settings:
            return raw(settings)
        case _ as never:
            assert_never(never)
