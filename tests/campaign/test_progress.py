"""What is said of a target while it is probed, beside others."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from tlsprobe.campaign.progress import Silent, shown
from tlsprobe.campaign.results import ResultsFolder


class Listener(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_a_warning_names_its_target(tmp_path: Path) -> None:
    """Nine servers were probed at a time, and nobody was told which of them it was about."""
    listener = Listener()
    folder = cast(ResultsFolder, tmp_path)  # which a warning does not touch
    shown(listener, "rude", folder, lambda _: None).warned("no capture")
    assert listener.notes == ["rude: warning: no capture"]
