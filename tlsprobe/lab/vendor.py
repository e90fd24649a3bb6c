"""Starts a vendor's server as its profile says, tells when it is ready, and stops it."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import trio

from tlsprobe.errors import CannotMeasure
from tlsprobe.lab.availability import (
    Presence,
    availability,
    lab_of,
    sibling,
    tools_of,
)
from tlsprobe.lab.containers import Container, asking
from tlsprobe.lab.process import (
    MARK,
    ServerProcess,
    as_account,
    at_once,
    environment,
    prepare,
)
from tlsprobe.lab.roots import inside
from tlsprobe.lab.signalled import Signalled, known, name_of
from tlsprobe.lab.workspace import (
    Account,
    Workspace,
    account,
    account_of_ours,
    copy_pki,
    fill,
    fill_all,
    free_ports,
)
from tlsprobe.model.profile import Command, Lab, Profile
from tlsprobe.model.sequence import Signal

VERSION_WITHIN = 20.0
"""Seconds that a server has to say its version."""

LOG = "server.log"
"""Where a server's outputs go, in its folder."""

_POLL = 0.05
_CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 1)"


@dataclass(frozen=True, slots=True)
class Started:
    """A server that is ready. ``spare`` is a second port of its own, whatever it does with it.

    ``version`` and ``tls_library`` are its own words, None where it does not tell; ``user`` is who
    started it. ``ended`` gives its exit status, None while it runs. ``process`` can be told to
    stop, after which it is started again at the same address.
    """

    profile: Profile
    host: str
    port: int
    spare: int
    pid: int
    version: str | None
    tls_library: str | None
    user: str
    folder: Path
    log: Path
    ended: Callable[[], int | None]
    process: Signalled


@asynccontextmanager
async def running(
    profile: Profile, workspace: Workspace, *, host: str = "127.0.0.1", prefix: Sequence[str] = ()
) -> AsyncIterator[Started]:
    """A vendor's server, for the time of the block; what it stands in front of is started first.

    ``prefix`` are the words that run a command elsewhere, such as ``ip netns exec NAME``. Raises
    CannotMeasure with the reason: not installed, a command that failed, not ready in time.
    """
    lab = lab_of(profile)
    program = _program(profile, workspace)
    async with AsyncExitStack() as stack:
        behind = None
        if lab.behind:
            before = running(sibling(profile, lab.behind), workspace, host=host, prefix=prefix)
            behind = await stack.enter_async_context(before)
        whom = account(lab.user)
        folder = stack.enter_context(_own_folder(profile, workspace, whom))
        port, spare, spare2 = free_ports(3, host)
        names = _names(profile, workspace, program, folder, whom)
        names |= {"host": host, "in_url": f"[{host}]" if ":" in host else host}
        names |= {"port": str(port), "spare": str(spare), "spare2": str(spare2)}
        names |= _behind(behind)
        names |= {name: fill(value, names) for name, value in lab.values.items()}
        _render(lab, folder, names, whom)
        into = (*prefix, *inside(lab, tools_of(profile, workspace.tools)))
        image = Container(lab.image, folder, f"{MARK}={folder}") if lab.image else None
        recipe = _Recipe(lab, names, folder, whom, into, image)
        await recipe.prepare()
        here = _Instance(recipe, host, port, prefix, recipe.start())
        stack.push_async_callback(here.stop)
        await here.until_ready()
        version, tls = await versions(profile, program, workspace.tools)
        yield Started(
            profile=profile,
            host=host,
            port=port,
            spare=spare,
            pid=here.process.pid,
            version=version,
            tls_library=tls,
            user=whom.user if lab.as_user else account_of_ours().user,
            folder=folder,
            log=folder / LOG,
            ended=lambda: here.process.status,
            process=_signalled(here, profile),
        )


def _signalled(here: _Instance, profile: Profile) -> Signalled:
    def tell(what: Signal) -> str:
        name = name_of(what, profile.signals)
        here.process.signal(name)
        return name

    return Signalled(known(profile.signals), tell, here.renew)


def _program(profile: Profile, workspace: Workspace) -> str | None:
    found = availability(profile, workspace.tools)
    if found.presence is Presence.HERE:
        return found.program
    if found.presence is Presence.INSTALLABLE:
        hint = f"tlsprobe lab install {profile.name}"
        raise CannotMeasure(f"{profile.name} is not installed: {found.words}", hint)
    raise CannotMeasure(f"{profile.name}: {found.words}")


# --- Before the start -----------------------------------------------------------------------------

_numbers = count(1)


@contextmanager
def _own_folder(profile: Profile, workspace: Workspace, whom: Account) -> Iterator[Path]:
    folder = workspace.scratch / f"{profile.name}-{next(_numbers)}"
    folder.mkdir(mode=0o755)
    try:
        whom.own(folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _names(
    profile: Profile, workspace: Workspace, program: str | None, folder: Path, whom: Account
) -> dict[str, str]:
    lab = lab_of(profile)
    return {
        "profile": str(lab.folder),
        "tools": str(tools_of(profile, workspace.tools)),
        "program": program or "",
        "folder": str(folder),
        "user": whom.user,
        "group": whom.group,
        "idle": str(lab.idle),
        "idle_ms": str(lab.idle * 1000),
        **copy_pki(workspace.pki, folder / "pki", whom),
    }


def _behind(other: Started | None) -> dict[str, str]:
    if other is None:
        return {}
    ports = {"behind_port": str(other.port), "behind_spare": str(other.spare)}
    return {"behind_host": other.host, **ports}


def _render(lab: Lab, folder: Path, names: Mapping[str, str], whom: Account) -> None:
    """Write the templates into the folder; other files keep what looks like a placeholder."""
    for name in lab.templates:
        source = lab.folder / name
        rendered = folder / source.name
        try:
            text = source.read_text(encoding="utf-8")
            rendered.write_text(fill(text, names), encoding="utf-8")
            rendered.chmod(source.stat().st_mode & 0o755)
        except (OSError, UnicodeError) as error:
            raise CannotMeasure(f"its template {name} cannot be rendered: {error}") from error
        whom.own(rendered)


# --- Started, stopped, and started again ----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Recipe:
    """What a server is started from: ``names`` fill its commands, ``into`` are the words before."""

    lab: Lab
    names: Mapping[str, str]
    folder: Path
    whom: Account
    into: Sequence[str]
    image: Container | None

    @property
    def _environment(self) -> dict[str, str]:
        own = {name: fill(value, self.names) for name, value in self.lab.env.items()}
        return environment(self.folder, own)

    @property
    def _user(self) -> Account | None:
        return self.whom if self.lab.as_user else None

    async def prepare(self) -> None:
        """Do what comes before the first start. Raises CannotMeasure."""
        for command in self.lab.prepare:
            words = [*self.into, *as_account(self._user), *fill_all(command, self.names)]
            await prepare(words, self.folder, self._environment)

    def start(self) -> ServerProcess:
        """Start the server where everything is prepared."""
        inside_image = self.image.words() if self.image else []
        leading = [*self.into, *as_account(self._user, "--pdeathsig", self.lab.stop), *inside_image]
        words = [*leading, *fill_all(self.lab.start, self.names)]
        return ServerProcess(words, self.folder, self._environment, self.folder / LOG)


@dataclass(slots=True)
class _Instance:
    """A server at its address, whichever process it is just now."""

    recipe: _Recipe
    host: str
    port: int
    prefix: Sequence[str]
    process: ServerProcess

    async def until_ready(self) -> None:
        """Wait until it can be probed. Raises CannotMeasure."""
        await _until_ready(self.process, self.recipe.lab, self.host, self.port, self.prefix)

    async def stop(self) -> None:
        """End it, and the container that it ran in."""
        await self.process.stop(self.recipe.lab.stop)
        if self.recipe.image:
            self.recipe.image.remove()

    async def renew(self) -> None:
        """Start it again at the same address. Raises CannotMeasure."""
        await self.stop()
        # its log may say when the one before was ready
        (self.recipe.folder / LOG).unlink(missing_ok=True)
        self.process = self.recipe.start()
        await self.until_ready()


# --- Ready, and who it is -------------------------------------------------------------------------


async def _until_ready(
    server: ServerProcess, lab: Lab, host: str, port: int, prefix: Sequence[str]
) -> None:
    with trio.move_on_after(lab.ready_within):
        while server.status is None:
            if await _is_ready(server, lab, host, port, prefix):
                return
            await trio.sleep(_POLL)
    if server.status is not None:
        raise CannotMeasure(f"it ended with status {server.status}: {server.said()}")
    raise CannotMeasure(f"it was not ready within {lab.ready_within:g} s: {server.said()}")


async def _is_ready(
    server: ServerProcess, lab: Lab, host: str, port: int, prefix: Sequence[str]
) -> bool:
    if lab.ready is not None:
        said = server.log.read_bytes().decode("utf-8", "replace")
        return lab.ready.search(said) is not None
    if prefix:  # what is elsewhere may be reached from there alone
        connect = [*prefix, sys.executable, "-c", _CONNECT, host, str(port)]
        tried = await trio.run_process(
            connect,
            check=False,
            capture_stdout=True,
            capture_stderr=True,
            deliver_cancel=at_once,
        )
        return tried.returncode == 0
    try:
        with trio.fail_after(1):
            stream = await trio.open_tcp_stream(host, port)
    except (OSError, trio.TooSlowError):
        return False
    await stream.aclose()
    return server.status is None


async def versions(
    profile: Profile, program: str | None, tools: Path
) -> tuple[str | None, str | None]:
    """What the server says of its version and of its TLS library, each None if it does not."""
    lab = lab_of(profile)
    names = {
        "program": program or "",
        "profile": str(lab.folder),
        "tools": str(tools_of(profile, tools)),
    }
    try:
        into = inside(lab, tools_of(profile, tools))
    except CannotMeasure:
        return None, lab.tls_library
    where = into, lab.image
    version = await _told(lab.version, lab.version_pattern, names, *where)
    return version, lab.tls_library or await _told(lab.tls_version, lab.tls_pattern, names, *where)


async def _told(
    command: Command,
    pattern: re.Pattern[str],
    names: Mapping[str, str],
    into: Sequence[str],
    image: str | None,
) -> str | None:
    if not command:
        return None
    filled = fill_all(command, names)
    try:
        with trio.fail_after(VERSION_WITHIN):
            ended = await trio.run_process(
                [*into, *(filled if image is None else asking(image, filled))],
                check=False,
                capture_stdout=True,
                stderr=-2,
                deliver_cancel=at_once,
            )
    except (OSError, trio.TooSlowError):
        return None
    found = pattern.search(ended.stdout.decode("utf-8", "replace"))
    return found[1] if found else None
