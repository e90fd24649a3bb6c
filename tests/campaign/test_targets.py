"""A target as people write it."""

from __future__ import annotations

import pytest

from tlsprobe.campaign.targets import parse_target
from tlsprobe.errors import UsageError
from tlsprobe.profiles import load_profile


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("db.example:5432", "db.example", 5432),
        ("db.example", "db.example", 443),
        ("[::1]:443", "::1", 443),
        ("[fe80::1%lo]", "fe80::1%lo", 443),
    ],
)
def test_a_target_has_a_host_and_a_port(text: str, host: str, port: int) -> None:
    target = parse_target(text, load_profile("https"))
    assert (target.host, target.port) == (host, port)


@pytest.mark.parametrize(
    "text", ["", ":443", "[::1", "::1:443", "https://a:1/", "a b:443", "a\nb:443", "a\x1b[31m:443"]
)
def test_what_is_no_target_is_refused_and_shown_as_it_is_spelled(text: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_target(text, load_profile("https"))
    assert error.value.message == f"cannot read the target {text!r}"
    assert error.value.message.isprintable()


@pytest.mark.parametrize("port", ["0", "65536", "99999999999"])
def test_a_port_is_none_of_those(port: str) -> None:
    with pytest.raises(UsageError, match="is not between 1 and 65535"):
        parse_target(f"a:{port}", load_profile("https"))
