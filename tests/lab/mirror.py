"""A Debian archive made by a test: packages by ``dpkg-deb``, lists by hand, read over ``copy:``.

Its packages hold copies of this machine's own programs, so that a root of them is a real one.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from tlsprobe.lab.suites import codename_of

COMMANDS = ("sh", "env", "cat", "setpriv")
"""What starts a server in a root."""


class Package(NamedTuple):
    """A package that is to be built; ``programs`` are this machine's, with their libraries."""

    name: str
    version: str
    programs: tuple[str, ...] = ()
    more: str = ""


BASE = Package("base-tools", "1", COMMANDS, "Essential: yes\n")
OPENSSL = Package("openssl", "1:3.9.1-2", ("openssl",))


def archive(place: Path, suites: dict[str, list[Package]]) -> Path:
    """An archive of these suites and of an empty one of this machine's own release.

    Gives the configuration with which apt knows of it.
    """
    own = codename_of(Path("/etc/os-release").read_text(encoding="utf-8"))
    for suite, packages in {own: [], **suites}.items():
        lists = place / "dists" / suite / "main" / f"binary-{_architecture()}"
        lists.mkdir(parents=True)
        stanzas = "\n".join(_built(place, suite, package) for package in packages)
        (lists / "Packages").write_text(stanzas, encoding="utf-8")
        _release(lists.parents[1], suite)
    sources = place / "sources.list"
    sources.write_text(f"deb copy:{place} {own} main\n", encoding="utf-8")
    config = place / "apt.conf"
    config.write_text(
        f'Dir::Etc::SourceList "{sources}";\nDir::Etc::SourceParts "/dev/null";\n'
        'Acquire::AllowInsecureRepositories "true";\nAPT::Get::AllowUnauthenticated "true";\n',
        encoding="utf-8",
    )
    return config


def _release(folder: Path, suite: str) -> None:
    listed = "\n".join(
        f" {hashlib.sha256(path.read_bytes()).hexdigest()} {path.stat().st_size}"
        f" {path.relative_to(folder)}"
        for path in folder.rglob("Packages")
    )
    text = f"Suite: {suite}\nCodename: {suite}\nComponents: main\nSHA256:\n{listed}\n"
    (folder / "Release").write_text(text, encoding="utf-8")


def _built(place: Path, suite: str, package: Package) -> str:
    """Build a package into the archive; its stanza in the list."""
    tree = place / "trees" / f"{suite}-{package.name}"
    for program in package.programs:
        _copy(program, tree)
    control = (
        f"Package: {package.name}\nVersion: {package.version}\nArchitecture: {_architecture()}\n"
        f"Maintainer: a test <test@tlsprobe.test>\nDescription: a test's\n{package.more}"
    )
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(control, encoding="utf-8")
    (tree / "DEBIAN" / "postinst").write_text("#!/bin/sh\nexit 1\n", encoding="ascii")
    (tree / "DEBIAN" / "postinst").chmod(0o755)
    file = place / "pool" / f"{suite}-{package.name}.deb"
    file.parent.mkdir(exist_ok=True)
    command = ("dpkg-deb", "--build", "-Znone", "--root-owner-group", str(tree), str(file))
    subprocess.run(command, check=True, capture_output=True)
    content = file.read_bytes()
    return (
        f"{control}Filename: {file.relative_to(place)}\nSize: {len(content)}\n"
        f"SHA256: {hashlib.sha256(content).hexdigest()}\n"
    )


def _copy(program: str, tree: Path) -> None:
    """A program of this machine, and the libraries that it needs, in the same places."""
    path = shutil.which(program)
    assert path is not None, f"there is no {program}"
    told = subprocess.run(("ldd", path), capture_output=True, text=True, check=True).stdout
    for file in (path, *re.findall(r"(/\S+) \(0x", told)):
        target = tree / file.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)


def _architecture() -> str:
    command = ("dpkg", "--print-architecture")
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
