"""Which sequences a run takes, by what its server has."""

from __future__ import annotations

import pytest

from tlsprobe.campaign.run import choose_sequences
from tlsprobe.errors import UsageError
from tlsprobe.model.target import Login
from tlsprobe.profiles import load_profile
from tlsprobe.protocols import make_conversation


def test_what_resumes_a_session_is_refused_early_where_another_connection_asks() -> None:
    profile = load_profile("ftps-upload")
    converse = make_conversation(profile, "localhost", Login(), 21)
    chosen = choose_sequences(profile, converse, ("control",))
    assert chosen
    assert {sequence.connections for sequence in chosen} == {1}
    with pytest.raises(UsageError, match="resumes a session, and here") as refused:
        choose_sequences(profile, converse, ("resume-after-fin",))
    assert refused.value.hint is not None
    assert "--profile ftp" in refused.value.hint
