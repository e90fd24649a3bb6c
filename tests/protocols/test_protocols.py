from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from tlsprobe import protocols
from tlsprobe.errors import UsageError
from tlsprobe.model import protocols as known
from tlsprobe.model.profile import Profile, ProtocolSettings
from tlsprobe.model.target import Login, Target
from tlsprobe.protocols import (
    PROTOCOLS,
    Conversation,
    Protocol,
    make_conversation,
    phrases,
    spoken,
)
from tlsprobe.protocols.http1 import Http1, Http1Settings
from tlsprobe.protocols.postgres import Postgres, PostgresSettings
from tlsprobe.protocols.raw import Raw, RawSettings

LOGIN = Login()
NOT_PROTOCOLS = {"__init__", "conversation", "differing", "protocol"}


def profile(settings: ProtocolSettings) -> Profile:
    return Profile(name="x", title="X", port=1, protocol="any", settings=settings)


def test_the_registry_lists_every_file_of_the_room() -> None:
    files = {file.stem for file in Path(protocols.__file__).parent.glob("*.py")}
    assert set(PROTOCOLS) == files - NOT_PROTOCOLS


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=list(PROTOCOLS))
def test_every_field_of_the_settings_is_a_key_with_help(protocol: Protocol[Any]) -> None:
    assert list(protocol.keys) == [one.name for one in fields(protocol.settings)]
    assert all(key.help for key in protocol.keys.values())
    assert protocol.title


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=list(PROTOCOLS))
def test_a_table_without_keys_is_the_defaults(protocol: Protocol[Any]) -> None:
    mistakes: list[str] = []
    assert protocol.read({"adapter": protocol.name}, "protocol", mistakes) == protocol.settings()
    needed = [name for name, key in protocol.keys.items() if key.required]
    assert mistakes == [f"protocol.{name}: missing; write it" for name in needed]


def test_what_others_know_of_protocols_names_none_that_is_not_there() -> None:
    named = {known.UNKNOWN, *known.HTTP, *known.SENDER_ENDS, *known.ASKS_FOR_TLS}
    assert named <= set(PROTOCOLS)


def test_a_request_for_tls_is_as_long_as_readers_of_captures_take_it_to_be() -> None:
    asks = make_conversation(profile(PostgresSettings()), "h", LOGIN)().open()
    assert {"postgres": (len(asks), len(b"S"))} == known.ASKS_FOR_TLS


def test_what_is_spoken_is_the_adapter_or_for_a_script_the_profile() -> None:
    assert spoken(Target("x", "h", 1, "smtps", "chat")) == "smtps"
    assert spoken(Target("x", "h", 1, "nginx", "http1")) == "http1"


@pytest.mark.parametrize(
    ("settings", "kind"),
    [(Http1Settings(), Http1), (PostgresSettings(), Postgres), (RawSettings(), Raw)],
)
def test_each_kind_of_settings_has_its_adapter(
    settings: ProtocolSettings, kind: type[Conversation]
) -> None:
    assert type(make_conversation(profile(settings), "h", LOGIN)()) is kind


def test_each_connection_has_a_conversation_of_its_own() -> None:
    make = make_conversation(
        profile(RawSettings(request=b"?", response=re.compile(b"!"))), "h", LOGIN
    )
    first, second = make(), make()
    first.secured()
    first.request()
    assert (first.owed, second.owed) == (1, 0)


def test_host_and_port_reach_the_request() -> None:
    make = make_conversation(profile(Http1Settings()), "example.org", LOGIN, port=9443)
    assert b"\r\nHost: example.org:9443\r\n" in make().request()


def test_the_adapter_offers_alpn_unless_the_profile_does() -> None:
    plain = profile(Http1Settings())
    assert make_conversation(plain, "h", LOGIN)().alpn == ("http/1.1",)
    assert make_conversation(replace(plain, alpn=()), "h", LOGIN)().alpn == ()
    assert make_conversation(replace(plain, alpn=("x",)), "h", LOGIN)().alpn == ("x",)
    direct = profile(PostgresSettings(direct=True))
    assert make_conversation(direct, "h", LOGIN)().alpn == ("postgresql",)


def test_mistakes_come_out_before_any_connection() -> None:
    with pytest.raises(UsageError):
        make_conversation(profile(PostgresSettings()), "h", Login(user="a\0b"))


def test_phrases_are_made_of_the_protocol_s_own_words() -> None:
    bye = RawSettings(request=b"ping\n", response=re.compile(b"\n"), goodbye=b"quit\n")
    assert phrases(lambda: Raw(bye)) == (
        *(b"qu", b"\n", b"ping\nping\n", b"ping\nquit\n"),
        *(b"\xff", b"\x00", b"pi\xffng\n"),
    )
    long = RawSettings(request=b"x" * 600 + b"\n", response=re.compile(b"\n"))
    short = (b"\n", b"\xff", b"\x00")
    assert phrases(lambda: Raw(long)) == short, "what is too long to be printed is left out"
