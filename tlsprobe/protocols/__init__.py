"""Sans-IO protocol adapters: greet, one request, one goodbye."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from tlsprobe.model.profile import Http1Settings, PostgresSettings, Profile, RawSettings
from tlsprobe.model.target import Login
from tlsprobe.protocols.conversation import Conversation, Phase
from tlsprobe.protocols.http1 import http1
from tlsprobe.protocols.postgres import postgres
from tlsprobe.protocols.raw import raw

__all__ = ["Conversation", "Conversations", "Phase", "has_goodbye", "make_conversation"]

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


def has_goodbye(profile: Profile) -> bool:
    """Whether the protocol has a goodbye of its own, so that ``terminate`` means something."""
    settings = profile.settings
    return not isinstance(settings, RawSettings) or settings.goodbye is not None


def _adapter(profile: Profile, host: str, login: Login, port: int | None) -> Conversations:
    match profile.settings:
        case Http1Settings() as settings:
            return http1(settings, host, port)
        case PostgresSettings() as settings:
            return postgres(settings, login)
        case RawSettings() as settings:
            return raw(settings)
        case _ as never:
            assert_never(never)
