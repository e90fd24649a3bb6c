"""What the lab tried, beside the profile of whom it tried it on."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tlsprobe.model.behaviour import Tried, TriedInLab
from tlsprobe.profiles import load_profile
from tlsprobe.profiles.tried import TRIED_FILE, tried_in_lab, write_tried

ONE = TriedInLab(
    *("linger on", "mine 1.2", "reset-after-fin", "terminate", "1.3"), Tried.HELPS, "20/20", "0/20"
)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    write_tried(tmp_path, [ONE])
    text = (tmp_path / TRIED_FILE).read_bytes()
    assert msgspec.json.decode(text, type=tuple[TriedInLab, ...]) == (ONE,)


def test_what_ships_is_of_remedies_that_the_profile_names() -> None:
    said = tried_in_lab("nginx")
    lab = load_profile("nginx").lab
    assert lab is not None
    assert {one.says for one in said} == {one.says for one in lab.remedies if one.values}
    assert {one.effect for one in said} == {Tried.HELPS, Tried.HELPS_NOT}


def test_of_a_profile_that_nobody_tried_anything_on_nothing_is_said() -> None:
    assert tried_in_lab("raw") == ()
    assert tried_in_lab("./nowhere") == ()
