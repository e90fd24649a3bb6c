"""Whether a vendor's server is on this machine, could be, or why not."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tlsprobe.errors import UsageError
from tlsprobe.lab.commands import SEARCHED, find_command
from tlsprobe.lab.containers import engine, has_image, pulling
from tlsprobe.lab.workspace import fill, fill_all
from tlsprobe.model.profile import WITH, Lab, Profile
from tlsprobe.profiles import FILE as PROFILE
from tlsprobe.profiles import load_profile

STAMP = ".installed"
"""A file in a vendor's tools folder that says for which profile they were made."""

ROOT = "root"
"""The folder in the tools folder of a version into which packages of Debian are unpacked."""

_SIBLING = re.compile(r"@profile@/\.\./([^/]+)")


class Presence(StrEnum):
    """Whether the lab can start it."""

    HERE = "here"
    INSTALLABLE = "installable"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Availability:
    """``program`` is the server's binary, if it was found (some vendors have none).

    ``words`` say how to get what can be installed, and why what is missing cannot be.
    """

    presence: Presence
    program: str | None = None
    words: str = ""


def lab_of(profile: Profile) -> Lab:
    """The lab table of a vendor's profile. Raises UsageError if it is no vendor's."""
    if profile.lab is None:
        words = f"'{profile.name}' is no vendor: its profile has no [lab] table"
        raise UsageError(words, "'tlsprobe lab list' names the vendors")
    return profile.lab


def sibling(profile: Profile, name: str) -> Profile:
    """Another profile by name: the one beside this one. Raises UsageError."""
    return load_profile(str(lab_of(profile).folder.parent / name))


def tools_of(profile: Profile, tools: Path) -> Path:
    """The folder of a vendor's own tools; one with a remedy has those of the vendor without."""
    return tools / profile.name.partition(WITH)[0]


def availability(profile: Profile, tools: Path) -> Availability:
    """Whether the vendor can be started here, ``tools`` being the folder of all vendors' tools.

    Of one that stands in front of another, both must be here.
    """
    own = _own(profile, tools)
    behind = lab_of(profile).behind
    if behind is None or own.presence is Presence.MISSING:
        return own
    other = availability(sibling(profile, behind), tools)
    if other.presence is Presence.MISSING:
        return Availability(Presence.MISSING, words=f"stands in front of {behind}: {other.words}")
    if Presence.INSTALLABLE in {own.presence, other.presence}:
        ways = dict.fromkeys(filter(None, (own.words, other.words)))
        return Availability(Presence.INSTALLABLE, own.program, "; ".join(ways))
    return own


def _own(profile: Profile, tools: Path) -> Availability:
    lab, own_tools = lab_of(profile), tools_of(profile, tools)
    absent = [name for name in lab.templates if not (lab.folder / name).is_file()]
    if absent:  # a copy of a profile, which probes as well without them
        words = f"there is no file {absent[0]!r} beside the profile"
        return Availability(Presence.MISSING, words=words)
    if lab.image is not None:
        return _in_image(lab.image)
    return (
        _on_machine(lab, profile, own_tools) if lab.suite is None else _in_root(profile, own_tools)
    )


def _in_image(image: str) -> Availability:
    """A server that is started from a container image."""
    if not engine():
        words = "needs podman or docker, which this machine does not have"
        return Availability(Presence.MISSING, words=words)
    if has_image(image):
        return Availability(Presence.HERE)
    return Availability(Presence.INSTALLABLE, words=pulling(image))


def _on_machine(lab: Lab, profile: Profile, own_tools: Path) -> Availability:
    needs = (*lab.needs, *(("npm",) if lab.npm else ()))
    lacking = [name for name in needs if not _is_here(name)]
    if lacking and not (lab.packages and all("/" in name for name in lacking)):
        words = f"needs {' and '.join(lacking)}, which this machine does not have"
        return Availability(Presence.MISSING, words=words)
    program = None if lacking else find_program(lab, own_tools)
    found = not lacking and (program or not lab.program)
    if found and not is_to_be_made(profile, program, own_tools):
        return Availability(Presence.HERE, program)
    ways = list(_ways(lab, program))
    if not ways:
        sought = " or ".join(lab.program)
        return Availability(Presence.MISSING, words=f"there is no {sought} on this machine")
    if lab.packages and not program and find_command("apt-get") is None:
        words = f"get it by hand: there is no apt-get for Debian's {' '.join(lab.packages)}"
        return Availability(Presence.MISSING, words=words)
    return Availability(Presence.INSTALLABLE, program, "; ".join(ways))


def _in_root(profile: Profile, own_tools: Path) -> Availability:
    """A version whose packages are unpacked into a root of its own."""
    lab = lab_of(profile)
    lacking = [name for name in ("apt-get", "dpkg-deb", "unshare") if find_command(name) is None]
    if lacking:
        words = f"needs {' and '.join(lacking)}, which this machine does not have"
        return Availability(Presence.MISSING, words=words)
    program = find_program(lab, own_tools)
    if program and not is_to_be_made(profile, program, own_tools):
        return Availability(Presence.HERE, program)
    words = f"unpack {' '.join(lab.packages)} of Debian {lab.suite}"
    return Availability(Presence.INSTALLABLE, words=words)


def _ways(lab: Lab, program: str | None) -> Iterator[str]:
    if lab.packages and not program:
        yield f"apt-get install {' '.join(lab.packages)}"
    if lab.pip:
        yield f"pip install {' '.join(lab.pip)}"
    if lab.npm:
        yield f"npm install {' '.join(lab.npm)}"
    names = {"tools": ".", "profile": str(lab.folder)}
    yield from (" ".join(fill_all(command, names)) for command in lab.build)


# --- Programs -------------------------------------------------------------------------------------


def find_program(lab: Lab, own_tools: Path) -> str | None:
    """The first of the vendor's candidates that is here; of a glob, the newest version.

    Of a version that runs in a root of its own: the path by which it is known in there.
    """
    if lab.suite is not None:
        return _find_inside(own_tools / ROOT, lab.program)
    names = {"tools": str(own_tools), "profile": str(lab.folder)}
    found = (_find(fill(candidate, names)) for candidate in lab.program)
    return next((path for path in found if path), None)


def _find_inside(root: Path, candidates: Iterable[str]) -> str | None:
    for candidate in candidates:
        places = [candidate] if "/" in candidate else [f"{d}/{candidate}" for d in SEARCHED]
        for place in places:
            found = sorted(root.glob(place.lstrip("/")), key=_version, reverse=True)
            if program := next((path for path in found if os.access(path, os.X_OK)), None):
                return f"/{program.relative_to(root)}"
    return None


def _is_here(need: str) -> bool:
    """Whether a command is here, or a file: what packages bring is not always a program."""
    return Path(need).exists() if "/" in need else find_command(need) is not None


def _find(candidate: str) -> str | None:
    if "/" not in candidate:
        return find_command(candidate)
    exact = Path(candidate)
    matches = [exact] if exact.exists() else _matches(exact)
    return next((str(path) for path in matches if os.access(path, os.X_OK)), None)


def _matches(pattern: Path) -> list[Path]:
    """The newest version first."""
    found = Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor)))
    return sorted(found, key=_version, reverse=True)


def _version(path: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in path.parts if part.isdigit())


# --- Tools ----------------------------------------------------------------------------------------


def is_to_be_made(profile: Profile, program: str | None, own_tools: Path) -> bool:
    """Whether the vendor needs its tools folder, and it was not made for this profile."""
    lab = lab_of(profile)
    words = (*lab.start, *lab.env.values(), *lab.values.values())
    words = (*words, *(word for command in lab.prepare for word in command))
    inside = program is not None and program.startswith(f"{own_tools}/")
    from_elsewhere = bool(lab.build) or lab.suite is not None
    wanted = inside or from_elsewhere or any("@tools@" in word for word in words)
    return wanted and _stamp_in(own_tools) != fingerprint(profile)


def fingerprint(profile: Profile) -> str:
    """What the tools folder was made from; of what is built, every file of the profile's.

    Of other profiles' files that the build commands name, too: variants share sources.
    """
    lab = lab_of(profile)
    known = hashlib.sha256(repr((lab.pip, lab.npm, lab.build)).encode())
    if lab.suite is not None:
        known.update(repr((lab.suite, lab.packages)).encode())
    for folder in _sources(lab):
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            if path.name != PROFILE:  # its build commands are known already
                known.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return known.hexdigest()


def _sources(lab: Lab) -> list[Path]:
    """The profile's folder, and those beside it that its build commands name."""
    if not lab.build:
        return []
    words = (word for command in lab.build for word in command)
    others = {name for word in words for name in _SIBLING.findall(word)}
    return [lab.folder, *(lab.folder.parent / name for name in sorted(others))]


def _stamp_in(own_tools: Path) -> str | None:
    try:
        return (own_tools / STAMP).read_text(encoding="ascii")
    except OSError:
        return None
