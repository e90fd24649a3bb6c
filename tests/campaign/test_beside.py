"""The pages of a results folder beside those of its servers."""

from __future__ import annotations

import shutil
from pathlib import Path

from tlsprobe.campaign.beside import pages_beside
from tlsprobe.report.lab_notes import LAB_FILE, LabNotes, encode_lab_notes
from tlsprobe.report.render_markdown import render_markdown

JUDGED = Path(__file__).parents[1] / "data" / "judged"


def test_stops_and_limits_are_compared_server_by_server(tmp_path: Path) -> None:
    ends = tmp_path / "ends"
    for name in ("polite", "rude"):
        shutil.copytree(JUDGED / name, ends / name)
    notes = LabNotes("tlsprobe lab run --sequence shutdown", (("gone", "Gone", "not installed"),))
    (ends / LAB_FILE).write_bytes(encode_lab_notes(notes))
    pages = {one.name: one for one in pages_beside(tmp_path)}
    assert set(pages) == {f"ends/{name}index.html" for name in ("", "polite/", "rude/")}
    compared = render_markdown(pages["ends/index.html"].page)
    assert "tlsprobe lab run --sequence shutdown" in compared
    assert "Gone: not installed" in compared
    assert pages["ends/index.html"].is_listed
    assert not pages["ends/rude/index.html"].is_listed
