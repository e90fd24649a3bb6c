from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tlsprobe.errors import UsageError
from tlsprobe.model.profile import Http1Settings, PostgresSettings, Profile, RawSettings, Settings
from tlsprobe.model.target import Login
from tlsprobe.protocols import Conversation, make_conversation
from tlsprobe.protocols.http1 import Http1
from tlsprobe.protocols.postgres import Postgres
from tlsprobe.protocols.raw import Raw

LOGIN = Login()


def profile(settings: Settings) -> Profile:
    return Profile(name="x", title="X", port=1, protocol="any", settings=settings)


@pytest.mark.parametrize(
    ("settings", "kind"),
    [(Http1Settings(), Http1), (PostgresSettings(), Postgres), (RawSettings(), Raw)],
)
def test_each_kind_of_settings_has_its_adapter(
    settings: Settings, kind: type[Conversation]
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
