"""Packages of any suite of Debian, unpacked into a folder: nothing of the machine's own changes.

apt is given folders of its own for each suite (lists, cache, an empty list of what is installed);
the mirror, its keys and its proxy are those of the machine's own configuration. Packages are
unpacked, not installed: no maintainer script runs, and what they would have set up that servers
need is made here.

Source: apt-get(8) indextargets, dpkg-deb(1), apt-patterns(7).
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tlsprobe.errors import CannotMeasure
from tlsprobe.lab.process import last_words, ran

SUITES = ".suites"
"""The folder of all suites, among the vendors' tools folders."""

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
"""Keys of all releases of Debian: the machine's own apt may trust those of its release alone."""

FRESH_S = 24 * 3600.0
"""How long a suite's lists are taken to be those of today."""

_ALWAYS = ("?essential", "openssl")
"""What is in every root: a shell and the commands that start servers; who else tells OpenSSL's?"""

_LINKS = {"bin/sh": "dash", "usr/bin/awk": "mawk"}
"""What maintainer scripts would have linked, where no package holds it."""

_FORMAT = "$(REPO_URI)\t$(RELEASE)\t$(COMPONENT)"
_INST = re.compile(r"^Inst (\S+) \((\S+)", re.MULTILINE)
_OS_RELEASE = Path("/etc/os-release")


@dataclass(frozen=True, slots=True)
class Source:
    """One archive as the machine's apt is configured for it."""

    uri: str
    release: str
    component: str

    def line(self, suite: str) -> str:
        """The line of a ``sources.list`` for another suite of the same archive."""
        options = f" [signed-by={KEYRING}]" if KEYRING.exists() else ""
        return f"deb{options} {self.uri} {suite} {self.component}"


def sources_of(told: str) -> list[Source]:
    """The archives in the answer of ``apt-get indextargets`` in our format."""
    rows = (line.split("\t") for line in told.splitlines())
    return list(dict.fromkeys(Source(*row) for row in rows if len(row) == 3))


def lines_for(suite: str, sources: Sequence[Source], codename: str) -> list[str]:
    """The ``sources.list`` for a suite, the security archive last.

    Raises CannotMeasure if the machine has no archive of its own release to go by.
    """
    here = [source for source in sources if source.release == codename]
    security = [source for source in sources if source.release == f"{codename}-security"]
    if not here:
        words = f"apt is not configured for an archive of {codename or 'this system'}"
        raise CannotMeasure(words, "versions by Debian suite come from the machine's own mirror")
    own = [source.line(suite) for source in here]
    return own + [source.line(f"{suite}-security") for source in security]


def codename_of(os_release: str) -> str:
    """The name of the release, from the text of os-release(5)."""
    found = re.search(r'^VERSION_CODENAME="?([\w.-]+)', os_release, re.MULTILINE)
    return found[1] if found else ""


class Suite:
    """One suite, with apt's folders for it below ``tools``."""

    def __init__(self, name: str, tools: Path) -> None:
        self.name = name
        self.folder = tools / SUITES / name

    async def unpack(self, packages: Sequence[str], root: Path) -> None:
        """Unpack packages with all they depend on into a new folder. Raises CannotMeasure."""
        await self._update()
        wanted = [*_ALWAYS, *packages]
        told = await self._apt("install", "--simulate", "--no-install-recommends", *wanted)
        await self._apt("install", "--download-only", "--no-install-recommends", "-y", *wanted)
        archives = [self._archive(name, version) for name, version in _INST.findall(told)]
        partial = root.with_name(f"{root.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        controls = []
        for archive in archives:
            await _run("dpkg-deb", "--extract", str(archive), str(partial))
            controls.append(await _run("dpkg-deb", "--field", str(archive)))
        _furnish(partial, controls)
        await _run("/sbin/ldconfig", "-r", str(partial))  # not every package brings its links
        shutil.rmtree(root, ignore_errors=True)
        partial.rename(root)

    async def _update(self) -> None:
        """Fetch the suite's lists, unless those at hand are of today."""
        stamp = self.folder / "updated"
        if stamp.exists() and time.time() - stamp.stat().st_mtime < FRESH_S:
            return
        for place in ("state/lists/partial", "cache/archives/partial"):
            (self.folder / place).mkdir(parents=True, exist_ok=True)
        (self.folder / "status").touch()
        configured = ("indextargets", "--no-release-info", "--format", _FORMAT)
        told = await _run("apt-get", *configured, "Identifier: Packages")
        codename = codename_of(_OS_RELEASE.read_text(encoding="utf-8"))
        lines = lines_for(self.name, sources_of(told), codename)
        plain = [line for line in lines if f"{self.name}-security" not in line]
        for attempt in dict.fromkeys((tuple(lines), tuple(plain))):  # testing has no security
            (self.folder / "sources.list").write_text("\n".join((*attempt, "")), encoding="utf-8")
            try:
                await self._apt("update", "--error-on=any")
            except CannotMeasure as error:
                said = error.message
                continue
            stamp.touch()
            return
        raise CannotMeasure(f"this machine's mirror gives no Debian '{self.name}': {said}")

    async def _apt(self, *words: str) -> str:
        options = {
            "Dir::State": self.folder / "state",
            "Dir::State::status": self.folder / "status",
            "Dir::Cache": self.folder / "cache",
            "Dir::Etc::SourceList": self.folder / "sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::Etc::Preferences": "/dev/null",
            "Dir::Etc::PreferencesParts": "/dev/null",
            "APT::Default-Release": "",
            "APT::Sandbox::User": "root",
            "DPkg::Lock::Timeout": "300",
        }
        given = (word for name, value in options.items() for word in ("-o", f"{name}={value}"))
        return await _run("apt-get", "-q", *given, *words)

    def _archive(self, package: str, version: str) -> Path:
        written = version.replace(":", "%3a")
        found = list((self.folder / "cache" / "archives").glob(f"{package}_{written}_*.deb"))
        if not found:
            raise CannotMeasure(f"apt did not fetch {package} {version} of Debian {self.name}")
        return found[0]


def forget_unused(tools: Path, used: Iterable[str]) -> list[str]:
    """Remove the lists and archives of suites that no root is of; which they were."""
    keep = {*used}
    folder = tools / SUITES
    unused = [s.name for s in folder.iterdir() if s.name not in keep] if folder.is_dir() else []
    for name in unused:
        shutil.rmtree(folder / name)
    return unused


def _furnish(root: Path, controls: Iterable[str]) -> None:
    """What a root needs that lies in no package: mount points, links, dpkg's list of packages."""
    for place in ("proc", "dev", "tmp", "etc", "var/lib/dpkg/info", "run"):
        (root / place).mkdir(parents=True, exist_ok=True)
    for name in ("passwd", "group"):
        (root / "etc" / name).touch()
    for link, target in _LINKS.items():
        made = root / link
        if (made.parent / target).exists() and not made.exists():
            made.symlink_to(target)
    (root / "var/lib/dpkg/status").write_text("\n".join(_installed(controls)), encoding="utf-8")


def _installed(controls: Iterable[str]) -> Iterator[str]:
    """The stanzas of dpkg's list, from those of the packages."""
    for control in controls:
        package, _, rest = control.strip().partition("\n")
        yield f"{package}\nStatus: install ok installed\n{rest}\n"


async def _run(*command: str) -> str:
    """What a command prints. Raises CannotMeasure with its last words if it fails."""
    ended = await ran(command, Path())
    if ended.returncode:
        raise CannotMeasure(last_words(ended.stdout))
    return ended.stdout.decode("utf-8", "replace")
