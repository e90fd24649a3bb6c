"""The versions of a vendor's server that the lab can get beside each other: ``nginx@1.26``."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from tlsprobe.errors import UsageError
from tlsprobe.lab.availability import lab_of
from tlsprobe.lab.suites import forget_unused
from tlsprobe.model.profile import Command, Lab, LabVersion, Profile
from tlsprobe.profiles import list_profiles, load_profile

AT = "@"
"""What stands between a vendor and the name of a version."""


def version_name(profile: Profile) -> str:
    """The name of the version that a profile stands for, ``""`` for the machine's own."""
    return profile.name.partition(AT)[2]


def versions_of(profile: Profile) -> list[Profile]:
    """All versions that the vendor's profile names, in its order."""
    lab = profile.lab
    if lab is None:
        return []
    return [_version(profile, lab, name, one) for name, one in lab.versions.items()]


def versions_named(pattern: str) -> list[Profile]:
    """The versions that a name such as ``nginx@1.26``, ``nginx@*`` or ``*@*`` stands for.

    Raises UsageError where there is none.
    """
    vendor, _, version = pattern.rpartition(AT)
    is_glob = "*" in vendor
    names = [n for n in list_profiles() if fnmatchcase(n, vendor)] if is_glob else [vendor]
    every = [one for name in names for one in versions_of(load_profile(name))]
    found = [one for one in every if fnmatchcase(version_name(one), version)]
    if not found:
        known = ", ".join(one.name for one in every)
        words = f"there is no version {version!r} of {vendor!r}"
        hint = f"versions: {known}" if known else "its profile names none under [lab.versions]"
        raise UsageError(words, hint)
    return found


def is_other_version(profile: Profile, said: str | None) -> bool:
    """Whether a server calls itself a version that is not the one that its name promises.

    A name that does not begin with a digit promises none.
    """
    name = version_name(profile)
    if not name[:1].isdigit() or said is None:
        return False
    said = said.removeprefix("v")
    return not said.startswith(name) or said[len(name) : len(name) + 1].isdigit()


def remove(profiles: Iterable[Profile], tools: Path) -> int:
    """Remove what the lab keeps for vendors or versions; the bytes that this gave back.

    The lists and packages of a suite go with the last version that is from there.
    """
    before = folder_size(tools)
    for profile in profiles:
        shutil.rmtree(tools / profile.name, ignore_errors=True)
    forget_unused(tools, _suites_used(tools))
    return before - folder_size(tools)


def folder_size(folder: Path) -> int:
    """The bytes of the files below a folder, 0 if there is none."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.lstat().st_size for path in files)


def _suites_used(tools: Path) -> Iterator[str]:
    for name in list_profiles():
        for one in versions_of(load_profile(name)):
            if (suite := lab_of(one).suite) is not None and (tools / one.name).is_dir():
                yield suite


def _version(profile: Profile, lab: Lab, name: str, one: LabVersion) -> Profile:
    """The profile of one version: the same start and configuration, another server."""
    own = replace(
        lab,
        title=f"{lab.title or profile.title} {name}",
        program=one.program or lab.program,
        packages=(one.packages or lab.packages) if one.suite else (),
        pip=one.pip,
        npm=one.npm,
        build=_built(lab, one),
        needs=() if one.suite else lab.needs,
        values={**lab.values, **one.values},
        also=(),
        start=one.start or lab.start,
        versions={},
        suite=one.suite,
    )
    return replace(profile, name=f"{profile.name}{AT}{name}", lab=own)


def _built(lab: Lab, one: LabVersion) -> tuple[Command, ...]:
    """What builds it, by another toolchain where the version says so; Go itself fetches that."""
    if one.suite:
        return ()
    if one.go is None:
        return lab.build
    return tuple(("env", f"GOTOOLCHAIN=go{one.go}", *command) for command in lab.build)
