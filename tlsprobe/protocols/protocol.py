"""What a protocol is: its name, its settings with their keys in a profile, and its adapter."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from tlsprobe.keys import Key, Keys, a_text, checked, keys_of
from tlsprobe.model.profile import ProtocolSettings
from tlsprobe.model.target import Login
from tlsprobe.protocols.conversation import Conversation

SettingsT = TypeVar("SettingsT", bound=ProtocolSettings)

Conversations = Callable[[], Conversation]
"""Makes a fresh conversation, one for each connection."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Whom a conversation is with, and as whom.

    ``host`` is what a URL would say: the server name where one was given (``--sni``), else the
    target's host, an IPv6 address without brackets.
    """

    host: str
    port: int | None
    login: Login


@dataclass(frozen=True, slots=True)
class Protocol(Generic[SettingsT]):
    """A protocol that tlsprobe speaks.

    ``name`` is what ``adapter`` says in a profile, ``title`` a line on it. The fields of
    ``settings`` are the other keys of the ``[protocol]`` table. ``converse`` prepares the adapter
    once; it raises UsageError for settings or a login that the protocol cannot carry.
    ``senseless`` lists what makes no sense although each key is well written: each as the rest of
    the path, a colon and what to write. ``has_goodbye``: whether ``terminate`` means something.
    ``named_by_profile``: what is spoken is named by the profile, not by the adapter.
    """

    name: str
    title: str
    settings: type[SettingsT]
    converse: Callable[[SettingsT, Peer], Conversations]
    senseless: Callable[[SettingsT], Iterable[str]] = lambda _: ()
    has_goodbye: Callable[[SettingsT], bool] = lambda _: True
    named_by_profile: bool = False

    @property
    def keys(self) -> Keys:
        """The keys of the protocol's table, besides ``adapter``."""
        return keys_of(self.settings)

    def read(self, table: object, path: str, mistakes: list[str]) -> SettingsT:
        """The settings of a table; every mistake in it is added to the list."""
        before = len(mistakes)
        values = checked(table, {"adapter": Key(a_text), **self.keys}, path, mistakes)
        values.pop("adapter", None)
        settings = self.settings(**values)
        if len(mistakes) == before:
            mistakes += (f"{path}{mistake}" for mistake in self.senseless(settings))
        return settings
