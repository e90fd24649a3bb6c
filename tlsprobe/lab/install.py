"""Gets what the lab's vendors need: Debian packages, Python and npm packages, what is built.

Packages are installed as root and for the whole machine, but no service is started by it, now or
at the next boot. Everything else goes into the vendor's tools folder, which is made anew whenever
the profile asks for something else.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import trio

from tlsprobe.errors import CannotMeasure
from tlsprobe.lab.availability import (
    ROOT,
    STAMP,
    Presence,
    availability,
    find_program,
    fingerprint,
    is_to_be_made,
    lab_of,
    sibling,
)
from tlsprobe.lab.commands import find_command
from tlsprobe.lab.containers import engine, pulling
from tlsprobe.lab.process import last_words, ran
from tlsprobe.lab.suites import Suite
from tlsprobe.lab.vendor import versions
from tlsprobe.lab.versions import is_other_version
from tlsprobe.lab.workspace import fill_all
from tlsprobe.model.profile import Command, Profile

POLICY = Path("/usr/sbin/policy-rc.d")
"""Debian asks this program whether a package may start its service; exit status 101 is no."""

Tell = Callable[[str], None]
"""Takes a sentence about what is being done."""

_NO = """#!/bin/sh
# Put here by tlsprobe while it installs servers for its lab; safe to delete.
exit 101
"""


async def install(profiles: Iterable[Profile], tools: Path, tell: Tell) -> dict[str, str]:
    """Get what these vendors and those behind them lack; why not, for each that still lacks it."""
    wanted = list(_with_those_behind(profiles))
    failures = await _install_packages(wanted, tools, tell)
    for profile in wanted:
        found = availability(profile, tools)
        if profile.name in failures or found.presence is Presence.HERE:
            continue
        if found.presence is Presence.MISSING:
            failures[profile.name] = found.words
            continue
        image = lab_of(profile).image
        try:
            if image is not None:
                tell(f"{profile.name}: {pulling(image)}")
                await _run((*engine(), "pull", image), Path("/"))
                continue
            await _make_tools(profile, tools / profile.name, tell)
            await _must_be_as_named(profile, tools)
        except CannotMeasure as error:
            failures[profile.name] = error.message
    return failures


async def _must_be_as_named(profile: Profile, tools: Path) -> None:
    """Remove a server again whose place of origin has another version by now."""
    said, _ = await versions(profile, find_program(lab_of(profile), tools / profile.name), tools)
    if is_other_version(profile, said):
        shutil.rmtree(tools / profile.name, ignore_errors=True)
        where = f"Debian {suite}" if (suite := lab_of(profile).suite) else "what was installed"
        words = f"{where} has version {said} now"
        raise CannotMeasure(words, "correct its line under [lab.versions] in the profile")


def _with_those_behind(profiles: Iterable[Profile]) -> Iterator[Profile]:
    for profile in profiles:
        if (behind := lab_of(profile).behind) is not None:
            yield from _with_those_behind([sibling(profile, behind)])
        yield profile


# --- Debian packages ------------------------------------------------------------------------------


async def _install_packages(profiles: Sequence[Profile], tools: Path, tell: Tell) -> dict[str, str]:
    """All at once; if that fails, vendor by vendor, so that one package spoils nobody's lab."""
    lacking = {
        profile.name: lab.packages
        for profile in profiles
        if (lab := lab_of(profile)).packages
        and lab.suite is None
        and (found := availability(profile, tools)).presence is Presence.INSTALLABLE
        and not found.program
    }
    packages = tuple(dict.fromkeys(package for some in lacking.values() for package in some))
    if not packages:
        return {}
    if os.geteuid() != 0:
        return {name: f"as root: apt-get install {' '.join(p)}" for name, p in lacking.items()}
    tell(f"apt-get install {' '.join(packages)} (no service is started)")
    with _services_forbidden():
        await _apt("update")
        try:
            await _apt_install(packages)
        except CannotMeasure:
            return await _install_one_by_one(lacking)
    return {}


async def _install_one_by_one(lacking: dict[str, tuple[str, ...]]) -> dict[str, str]:
    failures = {}
    for name, packages in lacking.items():
        try:
            await _apt_install(packages)
        except CannotMeasure as error:
            failures[name] = error.message
    return failures


async def _apt_install(packages: Sequence[str]) -> None:
    new = [package for package in packages if not await _is_installed(package)]
    keep = "Dpkg::Options::=--force-confold"
    await _apt("install", "-y", "--no-install-recommends", "-o", keep, *packages)
    for package in new:
        await _disable_services(package)


async def _apt(*words: str) -> None:
    quiet = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1"}
    options = ("-qq", "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0")
    await _run(("apt-get", *options, *words), Path("/"), quiet)


async def _is_installed(package: str) -> bool:
    asked = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
    said = await trio.run_process(asked, capture_stdout=True, capture_stderr=True, check=False)
    return said.stdout == b"installed"


async def _disable_services(package: str) -> None:
    """Keep the services of a package that we brought from starting at the next boot."""
    asked = ["dpkg-query", "--listfiles", package]
    said = await trio.run_process(asked, capture_stdout=True, capture_stderr=True, check=False)
    paths = [Path(line) for line in said.stdout.decode("utf-8", "replace").splitlines()]
    units = [path.name for path in paths if "systemd/system" in str(path) and path.suffix]
    scripts = [path.name for path in paths if path.parent == Path("/etc/init.d")]
    if shutil.which("systemctl"):
        commands = [["systemctl", "disable", "--quiet", unit] for unit in units if "@" not in unit]
    else:
        commands = [["update-rc.d", script, "disable"] for script in scripts]
    for command in commands:
        await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)


@contextmanager
def _services_forbidden() -> Iterator[None]:
    """Let no package start a service; a policy that already says no is left alone."""
    if _says_no():
        yield
        return
    saved = POLICY.with_name(f"{POLICY.name}.before-tlsprobe")
    if POLICY.exists():
        POLICY.rename(saved)
    try:
        POLICY.write_text(_NO, encoding="ascii")
        POLICY.chmod(0o755)
        yield
    finally:
        POLICY.unlink(missing_ok=True)
        if saved.exists():
            saved.rename(POLICY)


def _says_no() -> bool:
    if not os.access(POLICY, os.X_OK):
        return False
    asked = subprocess.run([POLICY, "tlsprobe-question", "start"], capture_output=True, check=False)
    return asked.returncode == 101


# --- Tools of a vendor's own ----------------------------------------------------------------------


async def _make_tools(profile: Profile, folder: Path, tell: Tell) -> None:
    """Make a vendor's tools folder anew; it counts as made once its stamp is there."""
    lab = lab_of(profile)
    if not is_to_be_made(profile, find_program(lab, folder), folder) and not (lab.pip or lab.npm):
        lacking = [path for path in lab.needs if "/" in path and not Path(path).exists()]
        raise CannotMeasure(
            f"there is still no {' or '.join(lacking or lab.program)} on this machine"
        )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    names = {"tools": str(folder), "profile": str(lab.folder)}
    if lab.suite is not None:
        tell(f"{profile.name}: unpacking {' '.join(lab.packages)} of Debian {lab.suite}")
        await Suite(lab.suite, folder.parent).unpack(lab.packages, folder / ROOT)
    for command in _commands(lab.pip, lab.npm, folder):
        tell(f"{profile.name}: {' '.join(command)}")
        await _run(command, folder)
    for command in lab.build:
        tell(f"{profile.name}: {' '.join(fill_all(command, names))}")
        await _run(tuple(fill_all(command, names)), folder)
    (folder / STAMP).write_text(fingerprint(profile), encoding="ascii")


def _commands(pip: Sequence[str], npm: Sequence[str], folder: Path) -> Iterator[Command]:
    if pip:
        venv = folder / "venv"
        yield (sys.executable, "-m", "venv", str(venv))
        yield (str(venv / "bin" / "pip"), "install", "--disable-pip-version-check", "-q", *pip)
    if npm:
        yield (find_command("npm") or "npm", "install", "--no-fund", "--no-audit", *npm)


async def _run(command: Command, folder: Path, env: dict[str, str] | None = None) -> None:
    """Run a command to its end. Raises CannotMeasure with its last words if it fails."""
    ended = await ran(command, folder, {**os.environ, **(env or {})})
    if ended.returncode:
        said = last_words(ended.stdout)
        raise CannotMeasure(f"{' '.join(command)} ended with {ended.returncode}: {said}")
