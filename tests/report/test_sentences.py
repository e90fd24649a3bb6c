"""Sentences that several pages share."""

from __future__ import annotations

import pytest

from tlsprobe.model.causes import Cause
from tlsprobe.model.judgement import Confidence
from tlsprobe.model.run import CauseFacts
from tlsprobe.report.findings import Why
from tlsprobe.report.sentences import describe_loose_cause


@pytest.mark.parametrize(
    ("side", "cause", "whose"),
    [
        ("server", Cause.DATA_AFTER_CLOSE, "the server reset"),
        ("server", Cause.MIDDLEBOX, "a reset came in the server's name"),
        ("client", Cause.MIDDLEBOX, "our own side reset"),
    ],
)
def test_a_reset_without_a_finding_names_the_server_only_where_it_was_its(
    side: str, cause: Cause, whose: str
) -> None:
    why = Why(CauseFacts(cause, 3, side, Confidence.HIGH, ()), ((Confidence.HIGH, 3),))
    assert describe_loose_cause(why).startswith(f"{whose}: {cause} (confidence high, in 3 trials")
