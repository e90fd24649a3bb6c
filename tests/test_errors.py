"""The exceptions: what the process exits with, and what they tell."""

import errno

import pytest

from tlsprobe.errors import (
    CannotMeasure,
    SequenceError,
    TlsprobeError,
    UsageError,
    cannot_write,
    no_room_in,
)


@pytest.mark.parametrize(
    ("kind", "exit_code"), [(TlsprobeError, 2), (UsageError, 2), (CannotMeasure, 3)]
)
def test_exit_codes_are_those_of_the_contract(kind: type[TlsprobeError], exit_code: int) -> None:
    error = kind("it went wrong", "do it right")
    assert error.exit_code == exit_code
    assert str(error) == error.message == "it went wrong"
    assert error.hint == "do it right"
    assert kind("without a mend").hint is None


def test_a_sequence_error_points_at_its_column() -> None:
    error = SequenceError("expected a verb", "fin; x", 6, "try fin")
    assert error.exit_code == UsageError.exit_code
    assert (error.text, error.column, error.hint) == ("fin; x", 6, "try fin")
    first, text, pointer = error.message.split("\n")
    assert first == "expected a verb (column 6)"
    assert text[pointer.index("^")] == "x"


def test_a_full_disk_is_known_wherever_it_shows() -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "facts.jsonl.gz")
    told = cannot_write(full, "cannot write results", "make room")
    assert isinstance(told, UsageError)
    assert no_room_in(told) == "cannot write results"
    words = "cannot write facts.jsonl.gz: No space left on device"
    assert no_room_in(ExceptionGroup("", [ValueError(), ExceptionGroup("", [full])])) == words
    denied = OSError(errno.EACCES, "Permission denied")
    assert no_room_in(denied) == no_room_in(cannot_write(denied, "a", "b")) == ""
