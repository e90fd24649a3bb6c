"""What the page of the fuzz bench says of a log."""

from __future__ import annotations

from dataclasses import replace

from tests.bench.fuzz_controls import Controlled, every
from tests.bench.fuzz_page import Found, page
from tests.fuzz.controls import CONTROLS

ONE = Found(
    fault="abort-at-eof",
    about="ordering",
    seed=1,
    confirmed=None,
    steps=None,
    shortest="fin; drain",
    connections=None,
    spent=100,
    seconds=60.0,
    random=7,
    named=None,
    code="aaaaaaaa",
)
AGAIN = replace(ONE, confirmed="5/5", steps="fin; drain", connections=3, code="bbbbbbbb")
CONTROL = Controlled("polite", "reference", 1, 2000, 5000, 3, 60.0, 1.0, (), (), "aaaaaaaa")


def test_of_a_pair_that_was_measured_again_the_last_counts() -> None:
    text = page([ONE, AGAIN], [], "")
    assert "found, of 1 pairs of fault and seed | 1/1 |" in text
    assert "All of it was measured with `bbbbbbbb`." in text


def test_a_page_of_several_states_of_the_code_says_how_much_is_of_which() -> None:
    seeds = [replace(ONE, seed=seed, code="") for seed in (2, 3)]
    text = page([AGAIN, *seeds], [], "")
    said = "2 with code that the log does not name, 1 with `bbbbbbbb`."
    assert f"Not all of it was measured with the same code: {said}" in text


def test_a_control_that_was_measured_again_is_counted_once() -> None:
    text = page([AGAIN], [CONTROL, replace(CONTROL, examples=1500, code="bbbbbbbb")], "")
    assert "| `polite` | `reference` | 1500 | 3 | 5000 | 0 |" in text


def test_every_control_is_measured_in_a_protocol_that_it_speaks() -> None:
    profiles = dict(every())
    assert set(CONTROLS) <= set(profiles)
    assert profiles["chat"] == "pop3s"
