"""What the sniffer process sees of our environment."""

from __future__ import annotations

import pytest

from tlsprobe.sniff import backends


def test_a_password_is_not_passed_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "secret")
    monkeypatch.setenv("SUDO_UID", "1000")
    passed = backends._environment()
    assert "DB_PASSWORD" not in passed
    assert "secret" not in str(passed)
    assert passed["SUDO_UID"] == "1000"
    assert "PATH" in passed
