"""Where a target is."""

from __future__ import annotations

import pytest

from tlsprobe.model.target import is_loopback, is_on_one_host


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        *[("127.0.0.1", True), ("127.9.9.9", True), ("::1", True)],
        *[("192.0.2.1", False), ("fe80::1%eth0", False), ("", False), ("localhost", False)],
    ],
)
def test_only_an_address_of_the_loopback_never_leaves_the_machine(
    host: str, expected: bool
) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("127.0.0.1", "127.0.0.2", True),
        ("2001:db8::1", "2001:db8::1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("127.0.0.1", "192.0.2.2", False),
    ],
)
def test_a_machine_speaks_to_itself_over_the_loopback_or_from_the_same_address(
    one: str, other: str, expected: bool
) -> None:
    assert is_on_one_host(one, other) is expected
