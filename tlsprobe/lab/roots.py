"""Running commands in a root of their own: the unpacked packages of another suite of Debian.

A command sees that root in place of the machine's file system, by ``unshare --mount`` and
``chroot``. Both replace themselves by what they start, so that the process keeps its number, and
what is mounted for it goes when it ends. Nothing is mounted where anybody else could see it.

Needs root. Source: unshare(1), chroot(1), mount_namespaces(7).
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from tlsprobe.errors import CannotMeasure
from tlsprobe.lab.availability import ROOT
from tlsprobe.model.profile import Lab

_ENTER = """
root=$1 shared=$2
shift 2
for place in /proc /dev; do mount --rbind "$place" "$root$place"; done
for place in /etc/passwd /etc/group "$shared"; do mount --bind "$place" "$root$place"; done
case $PWD in "$shared"/*) there=$PWD ;; *) there=/ ;; esac
exec chroot "$root" env --chdir="$there" "$@"
"""
"""The shell's part: the accounts of this machine and the lab's scratch folders are seen inside."""


def inside(lab: Lab, own_tools: Path) -> tuple[str, ...]:
    """The words before a command that make it run in the vendor's root; none if it has none.

    Raises CannotMeasure: it has one, and we are not root.
    """
    if lab.suite is None:
        return ()
    if os.geteuid() != 0:
        words = f"a server of Debian {lab.suite} runs in a root of its own, which needs root"
        raise CannotMeasure(words, "run tlsprobe with sudo")
    script = ("sh", "-ec", _ENTER, "tlsprobe-root")
    root = str(own_tools / ROOT)
    return ("unshare", "--mount", "--propagation", "private", *script, root, tempfile.gettempdir())
