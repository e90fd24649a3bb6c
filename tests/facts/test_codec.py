"""A fact as a line: it comes back as it was, and what is no fact is refused."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.facts.strategies import FACTS, HEADER
from tests.judge.playbook import C, S, play
from tlsprobe.facts.codec import (
    Damaged,
    decode_fact,
    decode_header,
    encode_fact,
    encode_header,
)
from tlsprobe.model.facts import Fact, TrialFact
from tlsprobe.model.load import Load
from tlsprobe.model.run import Trial
from tlsprobe.model.trace import Segment, Trace

POSTGRES = play(C.goodbye(), C.notify(), S.notify(), S.rst(active=True))


def fact_of(trace: Trace) -> TrialFact:
    return TrialFact(Trial("terminate", "1.3", 7), trace, Load(3, 4))


def line_of(trace: Trace) -> dict[str, object]:
    line: dict[str, object] = json.loads(encode_fact(fact_of(trace)))
    return line


@pytest.mark.slow
@given(FACTS)
def test_every_fact_comes_back_as_it_was(fact: Fact) -> None:
    line = encode_fact(fact)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert decode_fact(line) == fact


def test_the_header_comes_back() -> None:
    assert decode_header(encode_header(HEADER)) == HEADER


def test_times_and_packets_count_from_the_first() -> None:
    trial = line_of(POSTGRES)["trial"]
    assert isinstance(trial, dict)
    assert trial["events"]["time_ns"][0] == 0
    assert trial["segments"]["number"][:3] == [0, 1, 2]
    assert max(trial["segments"]["time_ns"]) < 10**9


def test_a_column_that_says_nothing_is_left_out_and_one_that_is_missing_has_its_default() -> None:
    segments = tuple(s._replace(df=None) for s in POSTGRES.segments)
    trace = replace(POSTGRES, segments=segments)
    line = line_of(trace)
    trial = line["trial"]
    assert isinstance(trial, dict)
    assert "df" not in trial["segments"]
    assert decode_fact(json.dumps(line).encode()) == fact_of(trace)


def test_text_that_json_cannot_carry_is_spelled_out() -> None:
    drive = replace(POSTGRES.drive, failure="caf\udce9")
    found = decode_fact(encode_fact(fact_of(replace(POSTGRES, drive=drive))))
    assert isinstance(found, TrialFact)
    assert found.trace.drive.failure == "caf\\udce9"


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"no JSON",
        b"[]",
        b"{}",
        b'{"trial": {}}',
        b'{"weather": {"rain": true}}',
        b'{"path": {"sequence": "x", "tls": "1.3", "alive": "yes"}}',
        b"[" * 100_000,
        b'\xff{"path": null}',
    ],
)
def test_what_is_no_fact_is_refused(line: bytes) -> None:
    with pytest.raises(Damaged):
        decode_fact(line)


def ruined(line: dict[str, object], table: str, column: str, value: object) -> bytes:
    trial = line["trial"]
    assert isinstance(trial, dict)
    trial[table][column] = value
    return json.dumps(line).encode()


@pytest.mark.parametrize("table", ["events", "records", "segments"])
@pytest.mark.parametrize("value", [[], [1], ["x"] * 12, [None] * 12, [[]] * 12, [10**400] * 12])
def test_a_table_that_is_none_is_refused(table: str, value: list[object]) -> None:
    with pytest.raises(Damaged):
        decode_fact(ruined(line_of(POSTGRES), table, "time_ns", value))


@pytest.mark.parametrize("column", [c for c in Segment._fields if c not in Segment._field_defaults])
def test_a_column_that_must_be_there_is_missed(column: str) -> None:
    line = line_of(POSTGRES)
    trial = line["trial"]
    assert isinstance(trial, dict)
    del trial["segments"][column]
    with pytest.raises(Damaged):
        decode_fact(json.dumps(line).encode())


@given(st.data())
def test_a_damaged_byte_is_refused_or_makes_another_fact(data: st.DataObject) -> None:
    line = bytearray(encode_fact(fact_of(POSTGRES)))
    place = data.draw(st.integers(0, len(line) - 1))
    line[place] = data.draw(st.integers(0, 255))
    with suppress(Damaged):
        decode_fact(bytes(line))
