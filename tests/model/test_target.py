"""Where a target is."""

from __future__ import annotations

import pytest

from tlsprobe.model.target import is_loopback


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
