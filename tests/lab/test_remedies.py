"""What is started to try a profile's remedies."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.vendors import PROGRAM, START, vendor
from tlsprobe.campaign.lab_remedies import remedies_chosen
from tlsprobe.catalogue import catalogue
from tlsprobe.errors import UsageError
from tlsprobe.lab.availability import lab_of, tools_of
from tlsprobe.lab.remedies import to_measure
from tlsprobe.profiles import list_profiles, load_profile

REMEDIES = """
values = { linger = "off", other = "1" }

[[lab.remedies]]
name = "lingering"
says = "linger on"
against = ["reset-after-fin"]
sequences = ["server-close-reply", "terminate"]
values = { linger = "on" }

[[lab.remedies]]
name = "alone"
says = "client: nothing behind the goodbye"
against = ["reset-after-fin"]
sequences = ["server-close-reply"]
instead = "terminate"
"""


def test_a_vendor_is_measured_as_it_is_and_with_each_remedy_of_a_server(tmp_path: Path) -> None:
    mine = vendor(tmp_path, PROGRAM + START + REMEDIES)
    plain, treated = to_measure(mine)
    assert (plain.name, treated.name) == (mine.name, f"{mine.name}+lingering")
    assert lab_of(plain).values == {"linger": "off", "other": "1"}
    assert lab_of(treated).values == {"linger": "on", "other": "1"}
    assert lab_of(treated).sequences == ("server-close-reply", "terminate")
    assert lab_of(plain).sequences == ("server-close-reply", "terminate")
    assert tools_of(treated, tmp_path) == tools_of(mine, tmp_path) == tmp_path / mine.name


def test_a_vendor_without_remedies_is_not_measured_for_them(tmp_path: Path) -> None:
    assert list(to_measure(vendor(tmp_path, PROGRAM + START))) == []
    with pytest.raises(UsageError, match="names no remedies"):
        remedies_chosen(["socat"])
    assert remedies_chosen(["nginx"]).profiles[0].name == "nginx"


def test_mistakes_in_remedies_are_told_all_at_once(tmp_path: Path) -> None:
    both = REMEDIES.replace('instead = "terminate"', 'instead = "x"\nvalues = { other = "2" }')
    for text, told in {
        both: "lab.remedies.2: write one of values, instead",
        REMEDIES.replace('"alone"', '"lingering"'): "lab.remedies: lingering is there twice",
        REMEDIES.replace('{ linger = "on"', '{ lingers = "on"'): "'lingers', which [lab] values",
        REMEDIES.replace("against", "gainst"): "lab.remedies.1.against: missing",
    }.items():
        with pytest.raises(UsageError) as caught:
            vendor(tmp_path, PROGRAM + START + text)
        assert told in caught.value.message


def test_the_remedies_that_ship_name_sequences_that_there_are() -> None:
    known = catalogue()
    for name in list_profiles():
        lab = load_profile(name).lab
        for remedy in lab.remedies if lab is not None else ():
            asked = {*remedy.sequences, *filter(None, (remedy.instead,))}
            assert asked <= known.keys(), f"{name}: {remedy.name}"
