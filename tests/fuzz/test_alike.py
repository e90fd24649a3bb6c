"""Which example holds which: steps in their order, and waits that are as long."""

from __future__ import annotations

import pytest

from tlsprobe.fuzz.alike import holds
from tlsprobe.language import parse
from tlsprobe.model.fuzz import Example


@pytest.mark.parametrize(
    ("longer", "shorter", "does"),
    [
        ("fin; drain", "fin; drain", True),
        ("request; terminate; send; fin; drain", "terminate; fin; drain", True),
        ("terminate + close_notify; drain", "terminate; close_notify; drain", True),
        ("close_notify; terminate; drain", "terminate; close_notify; drain", False),
        ("request; fin; drain", "send; fin; drain", True),
        ("send; fin; drain", "request; fin; drain", False),
        ("early; fin; drain", "send; fin; drain", True),
        ("resumed; request; fin; drain", "resumed; fin; drain", True),
        ("fin; drain", "resumed; fin; drain", False),
        ('send "x"; fin; drain', "send; fin; drain", False),
        ("send; fin; drain", 'send "x"; fin; drain', True),
        ("send; fin; drain", 'send "half a word"; fin; drain', False),
        ("send large; fin; drain", "send; fin; drain", True),
        ("request large; fin; drain", "send; fin; drain", True),
        ("request large; fin; drain", "request; fin; drain", True),
        ("request; fin; drain", "request large; fin; drain", False),
        ("send upload; fin; drain", "send; fin; drain", False),
        ("close_notify split; drain", "close_notify; drain", True),
        ("close_notify; drain", "close_notify split; drain", False),
        ("sleep 300ms; fin; drain", "sleep 100ms; fin; drain", True),
        ("pause 5ms; fin; drain", "sleep 100ms; fin; drain", False),
        ("await end idle; drain", "sleep 1s; drain", True),
    ],
)
def test_what_holds_what(longer: str, shorter: str, does: bool) -> None:
    assert holds(Example(parse(longer), "1.3"), Example(parse(shorter), "1.3")) is does
