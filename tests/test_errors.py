"""The exceptions: what the process exits with, and what they tell."""

import pytest

from tlsprobe.errors import CannotMeasure, SequenceError, TlsprobeError, UsageError


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
