"""Trouble that real kernels made, as tests/data/make_troubles.py recorded it."""

from __future__ import annotations

import pytest

from tests.data.make_troubles import EXPECTED, TROUBLES
from tlsprobe.captures.reader import open_capture_file
from tlsprobe.explain import explain


@pytest.mark.parametrize("name", EXPECTED)
def test_what_was_provoked_is_found_and_nothing_else(name: str) -> None:
    with open_capture_file(TROUBLES / f"{name}.pcapng") as reading:
        explanation = explain(reading)
    found = {
        (str(trouble.kind), str(trouble.side), trouble.what)
        for flow in explanation.flows
        for trouble in flow.troubles
    }
    assert found == EXPECTED[name]
    assert explanation.found == bool(EXPECTED[name])


def test_captures_are_small() -> None:
    assert {path.stem for path in TROUBLES.glob("*.pcapng")} == set(EXPECTED)
    assert all(path.stat().st_size < 100_000 for path in TROUBLES.glob("*.pcapng"))
