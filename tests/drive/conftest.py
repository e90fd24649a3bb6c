"""What the tests of drives share: no server here is too slow with its session tickets."""

import pytest

from tests.servers import GENEROUS_S
from tlsprobe.drive import script


@pytest.fixture(autouse=True)
def _all_the_time_for_tickets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "TICKET_PATIENCE", GENEROUS_S)
