"""Which servers a name such as ``nginx@1.26`` stands for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.vendors import PROGRAM, START, vendor
from tlsprobe.errors import UsageError
from tlsprobe.lab.availability import lab_of
from tlsprobe.lab.choice import chosen, with_versions
from tlsprobe.lab.versions import is_other_version, versions_named, versions_of
from tlsprobe.model.profile import LabChange
from tlsprobe.profiles import load_profile


def names(*asked: str) -> list[str]:
    return [profile.name for profile in chosen(asked).profiles]


def test_versions_are_named_behind_the_vendor_and_by_globs() -> None:
    assert names("nginx@1.26", "nginx") == ["nginx@1.26", "nginx"]
    assert names("haproxy@*") == ["haproxy@2.2", "haproxy@2.6", "haproxy@3.0", "haproxy@3.2"]
    assert names("haproxy@2.*", "haproxy@2.2") == ["haproxy@2.2", "haproxy@2.6"]
    assert {"nginx@1.18", "postgres@18"} <= set(names("*@*"))
    every = [profile.name for profile in with_versions(chosen(["gnutls"])).profiles]
    assert every[0] == "gnutls"
    assert len(every) > 3


@pytest.mark.parametrize(
    ("asked", "hint"),
    [("nginx@0.1", "nginx@1.18"), ("socat@1", "names none"), ("nowhere@1", "tlsprobe profiles")],
)
def test_a_version_that_nobody_names(asked: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        versions_named(asked)
    assert hint in (caught.value.hint or "")


def test_a_version_is_the_same_server_from_elsewhere() -> None:
    own = lab_of(load_profile("nginx"))
    (one,) = versions_named("nginx@1.26")
    lab = lab_of(one)
    assert (lab.suite, lab.title, lab.also, lab.versions) == ("trixie", "nginx 1.26", (), {})
    assert (lab.start, lab.templates, lab.folder) == (own.start, own.templates, own.folder)


def test_each_place_of_origin_has_its_way(tmp_path: Path) -> None:
    mine = vendor(
        tmp_path,
        PROGRAM
        + START
        + """
build = [["go", "build"]]
packages = ["mine"]
values = { one = "1", two = "2" }
[lab.versions]
"1" = { pip = ["mine==1"] }
"2" = { npm = ["mine@2"], program = ["@tools@/mine"] }
"3" = { go = "1.22.1", values = { two = "3" } }
"4" = { debian = "trixie", packages = ["mine-4"], start = ["@program@", "four"] }
""",
    )
    pip, npm, go, debian = map(lab_of, versions_of(mine))
    assert (pip.pip, pip.packages, pip.build) == (("mine==1",), (), (("go", "build"),))
    assert (npm.npm, npm.program) == (("mine@2",), ("@tools@/mine",))
    assert go.build == (("env", "GOTOOLCHAIN=go1.22.1", "go", "build"),)
    assert go.values == {"one": "1", "two": "3"}
    assert (debian.packages, debian.build, debian.start[1]) == (("mine-4",), (), "four")


def test_mistakes_in_versions_are_told_all_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        vendor(
            tmp_path,
            PROGRAM
            + START
            + """
[lab.versions]
"1" = { }
"2" = { debian = "sid", npm = ["x"] }
"A b" = { go = "1.2" }
"3" = { suite = "sid" }
"4" = { pip = ["x"], program = ["@nowhere@/x"] }
""",
        )
    said = caught.value.message
    for mistake in ("versions.1: write one of debian", "versions.2: write one of", "versions.A b"):
        assert f"lab.{mistake}" in said
    assert "lab.versions.3.suite: unknown key" in said


def test_what_the_notes_say_of_changes(tmp_path: Path) -> None:
    good = """
[[lab.changes]]
since = "2.5"
about = ["no-close-notify"]
says = "it sends the alert"
source = "https://notes.example/2.5"
"""
    mine = vendor(tmp_path, PROGRAM + START + good)
    assert lab_of(mine).changes == (
        LabChange("2.5", ("no-close-notify",), "it sends the alert", "https://notes.example/2.5"),
    )
    bad = good.replace('"2.5"', '"two"').replace("https:", "file:").replace("says", "said")
    with pytest.raises(UsageError) as caught:
        vendor(tmp_path, PROGRAM + START + bad)
    said = caught.value.message
    for mistake in ("1.says: missing", "1.since: write the first", "1.source: write where it"):
        assert f"lab.changes.{mistake}" in said


@pytest.mark.parametrize(
    ("name", "said", "is_other"),
    [
        ("nginx@1.26", "1.26.3", False),
        ("nginx@1.26", "1.30.6", True),
        ("haproxy@2.2", "2.20.1", True),
        ("openssl@1.1.1", "1.1.1w", False),
        ("node@14", "v14.21.3", False),
        ("nginx@1.26", None, False),
    ],
)
def test_a_version_that_is_not_as_its_name_says(
    name: str, said: str | None, is_other: bool
) -> None:
    (profile,) = versions_named(name)
    assert is_other_version(profile, said) is is_other
