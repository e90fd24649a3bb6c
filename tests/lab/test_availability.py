"""What is here, what can be got and how, and what cannot; and the tools that are made once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import trio

from tests.lab.vendors import PROGRAM, server, vendor
from tlsprobe.errors import UsageError
from tlsprobe.lab.availability import Availability, Presence, availability, find_program
from tlsprobe.lab.install import install
from tlsprobe.model.profile import Lab, Profile
from tlsprobe.profiles import FILE, list_profiles, load_profile

ANY = 'start = ["@program@"]\n'
NOWHERE = 'program = ["no-such-server"]\n'


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def got(profiles: list[Profile], tools: Path) -> tuple[dict[str, str], list[str]]:
    """What still lacks after an installation, and what was said meanwhile."""
    said: list[str] = []
    return trio.run(install, profiles, tools, said.append), said


def test_what_is_here(tmp_path: Path) -> None:
    assert availability(server(tmp_path), tmp_path) == Availability(Presence.HERE, sys.executable)


def test_a_server_without_a_program_of_its_own_needs_others(tmp_path: Path) -> None:
    here = vendor(tmp_path, 'start = ["sh"]\nneeds = ["sh"]\n')
    assert availability(here, tmp_path) == Availability(Presence.HERE)
    missing = vendor(tmp_path, 'start = ["sh"]\nneeds = ["no-such-command", "sh"]\n')
    words = "needs no-such-command, which this machine does not have"
    assert availability(missing, tmp_path) == Availability(Presence.MISSING, words=words)


def test_what_packages_bring_can_be_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = vendor(tmp_path, NOWHERE + ANY + 'packages = ["one", "two"]\n')
    program(tmp_path / "bin" / "apt-get")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    found = availability(profile, tmp_path)
    assert found == Availability(Presence.INSTALLABLE, None, "apt-get install one two")


def test_packages_are_got_though_the_program_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Java may be here, and the server that it runs not yet."""
    jar = tmp_path / "its.jar"
    profile = vendor(tmp_path, f'{PROGRAM}{ANY}packages = ["one"]\nneeds = ["{jar}"]\n')
    program(tmp_path / "bin" / "apt-get")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    failures, _said = got([profile], tmp_path)
    assert failures == {"mine": "as root: apt-get install one"}


def test_a_file_that_packages_bring_is_no_command(tmp_path: Path) -> None:
    lab = 'start = ["sh"]\npackages = ["one"]\nneeds = ["{need}"]\n'
    lacking = vendor(tmp_path, lab.format(need=tmp_path / "its.jar"))
    assert availability(lacking, tmp_path).presence is not Presence.HERE
    (tmp_path / "its.jar").touch()
    assert availability(lacking, tmp_path).presence is Presence.HERE


def test_what_nobody_brings_is_missing(tmp_path: Path) -> None:
    found = availability(vendor(tmp_path, NOWHERE + ANY), tmp_path)
    assert found == Availability(
        Presence.MISSING, words="there is no no-such-server on this machine"
    )


def test_who_stands_in_front_needs_who_is_behind(tmp_path: Path) -> None:
    front = server(tmp_path, 'behind = "back"\n', name="front")
    vendor(tmp_path, NOWHERE + ANY, name="back")
    words = "stands in front of back: there is no no-such-server on this machine"
    assert availability(front, tmp_path) == Availability(Presence.MISSING, words=words)
    vendor(tmp_path, NOWHERE + ANY + 'pip = ["back==1"]\n', name="back")
    words = "pip install back==1"
    found = availability(front, tmp_path)
    assert found == Availability(Presence.INSTALLABLE, sys.executable, words)
    (tmp_path / "back" / "profile.toml").unlink()
    with pytest.raises(UsageError):
        availability(front, tmp_path)


def test_the_newest_of_several_versions_is_taken(tmp_path: Path) -> None:
    for version in ("9", "15", "14"):
        program(tmp_path / version / "bin" / "postgres")
    lab = Lab(tmp_path, ("x",), program=("no-such", f"{tmp_path}/*/bin/postgres"))
    assert find_program(lab, tmp_path) == f"{tmp_path}/15/bin/postgres"


def test_what_is_built_is_built_once_and_again_when_its_source_changes(tmp_path: Path) -> None:
    lab = 'program = ["@tools@/made"]\nbuild = [["sh", "@profile@/make.py", "@tools@/made"]]\n'
    source = 'echo made >> "$1"; chmod +x "$1"; pwd'
    profile = vendor(tmp_path, lab + ANY, make=source)
    tools = tmp_path / "tools"
    before = availability(profile, tools)
    assert (before.presence, before.program) == (Presence.INSTALLABLE, None)
    assert before.words.startswith("sh ") and before.words.endswith("make.py ./made")

    failures, said = got([profile], tools)
    assert failures == {}
    assert said == [f"mine: sh {tmp_path}/mine/make.py {tools}/mine/made"]
    assert availability(profile, tools) == Availability(Presence.HERE, f"{tools}/mine/made")
    assert got([profile], tools) == ({}, [])

    changed = vendor(tmp_path, lab + ANY, make=source + "\n# changed")
    assert availability(changed, tools).presence is Presence.INSTALLABLE
    assert got([changed], tools)[0] == {}
    assert (tools / "mine" / "made").read_text() == "made\n", "made anew, not added to"


def test_what_is_built_from_another_profile_s_source_is_built_again_with_it(tmp_path: Path) -> None:
    build = 'build = [["sh", "@profile@/../other/source/make.sh", "@tools@/made"]]\n'
    profile = vendor(tmp_path, 'program = ["@tools@/made"]\n' + build + ANY)
    source = program(tmp_path / "other" / "source" / "make.sh")
    source.write_text('touch "$1"; chmod +x "$1"')
    tools = tmp_path / "tools"
    assert got([profile], tools)[0] == {}
    assert availability(profile, tools).presence is Presence.HERE
    source.write_text('touch "$1"; chmod +x "$1" # changed')
    assert availability(profile, tools).presence is Presence.INSTALLABLE


def test_a_build_that_fails_says_why_and_does_not_count(tmp_path: Path) -> None:
    lab = PROGRAM + ANY + 'build = [["sh", "-c", "echo no compiler; exit 1"]]\n'
    profile = vendor(tmp_path, lab)
    failures, _ = got([profile], tmp_path / "tools")
    assert failures == {"mine": "sh -c echo no compiler; exit 1 ended with 1: no compiler"}
    assert availability(profile, tmp_path / "tools").presence is Presence.INSTALLABLE


def test_installing_what_cannot_be_got_says_so(tmp_path: Path) -> None:
    failures, said = got([vendor(tmp_path, NOWHERE + ANY)], tmp_path / "tools")
    assert failures == {"mine": "there is no no-such-server on this machine"}
    assert said == []


def test_a_copy_of_a_profile_lacks_its_templates_in_the_lab_alone(tmp_path: Path) -> None:
    """As the notes of several profiles advise: copy this file, and give the copy's path."""
    text = load_profile("nginx").lab
    assert text is not None
    copy = tmp_path / "mine.toml"
    copy.write_bytes((text.folder / FILE).read_bytes())
    mine = load_profile(str(copy))
    assert (mine.protocol, mine.settings) == ("http1", load_profile("nginx").settings)
    found = availability(mine, tmp_path)
    assert found.presence is Presence.MISSING
    assert "'nginx.conf' beside the profile" in found.words


def shipped_vendors() -> list[Profile]:
    return [profile for profile in map(load_profile, list_profiles()) if profile.lab is not None]


def test_every_shipped_template_is_there() -> None:
    for profile in shipped_vendors():
        assert profile.lab is not None
        for name in profile.lab.templates:
            assert (profile.lab.folder / name).is_file(), (profile.name, name)
