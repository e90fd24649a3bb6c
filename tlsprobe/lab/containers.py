"""Servers from container images, with podman or docker: how most people get some of them.

The container shares the machine's network, so that what is probed, captured and asked of the kernel
is the server's own socket on loopback, and no forwarder's. It sees the server's folder at the same
path, gets no rights that its image does not have, few descriptors and processes, and is removed
when the server has stopped, or with the one who started it.

``TLSPROBE_ENGINE`` names the engine's words where they are others, as inside a container:
``podman --runtime runc``.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence
from functools import cache
from itertools import count
from pathlib import Path

from tlsprobe.errors import CannotMeasure
from tlsprobe.lab.commands import find_command

ENGINE = "TLSPROBE_ENGINE"
"""The variable with the words of a container engine."""

_ENGINES = ("podman", "docker")
_LIMITS = ("nofile=1024:1024", "nproc=1000:1000")
_ANSWERS_WITHIN = 20.0
_numbers = count(1)


@cache
def engine() -> tuple[str, ...]:
    """The words of a container engine that works here; none if there is none."""
    named = shlex.split(os.environ.get(ENGINE, ""))
    known = [(path,) for name in _ENGINES if (path := find_command(name)) is not None]
    found = [tuple(named)] if named else known
    return next((words for words in found if _works(*words, "info")), ())


def has_image(image: str) -> bool:
    """Whether the engine has the image, and need not fetch it."""
    return _works(*engine(), "image", "inspect", image)


def pulling(image: str) -> str:
    """The command that fetches an image, in words."""
    return shlex.join([*(engine() or ("podman",)), "pull", image])


class Container:
    """The containers of one server, of which one runs at a time; ``folder`` is seen inside.

    ``mark`` is a variable, with its value, by which the processes inside can be known.
    """

    def __init__(self, image: str, folder: Path, mark: str) -> None:
        self.image = image
        self.folder = folder
        self.mark = mark
        self.name = ""

    def words(self) -> list[str]:
        """What stands before the words of a server that is to run in a new container."""
        self.name = f"{self.folder.parent.name}-{self.folder.name}-{next(_numbers)}"
        return [*_run(), "--name", self.name, *self._sees(), self.image]

    def _sees(self) -> tuple[str, ...]:
        place = f"{self.folder}:{self.folder}"
        return ("--env", self.mark, "--volume", place, "--security-opt", "label=disable")

    def remove(self) -> None:
        """Remove the container, whatever became of the server."""
        if self.name:
            _works(*engine(), "rm", "--force", self.name)


def asking(image: str, command: Sequence[str]) -> list[str]:
    """A command in a container of its own that is gone with it: what says a version."""
    program, *words = command
    return [*_run(), "--entrypoint", program, image, *words]


def _run() -> tuple[str, ...]:
    if not engine():
        raise CannotMeasure("there is no container engine", "install podman or docker")
    limits = [word for limit in _LIMITS for word in ("--ulimit", limit)]
    rights = ("--security-opt", "no-new-privileges")
    return (*engine(), "run", "--rm", "--network", "host", *rights, *limits)


def _works(*words: str) -> bool:
    try:
        asked = subprocess.run(
            words,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=_ANSWERS_WITHIN,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == 0
