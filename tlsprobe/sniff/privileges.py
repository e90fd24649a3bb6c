"""Gives up privileges for good: another user, no capabilities, no way to get any back.

Each step stands alone, since a process may have one privilege without the others: root, a file
capability, or root of a user namespace where nobody else is mapped.
"""

from __future__ import annotations

import ctypes
import os
import pwd
from collections.abc import Mapping
from pathlib import Path

_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522
_NOBODY = 65534


def drop(environment: Mapping[str, str] = os.environ) -> None:
    """Becomes the invoking user (or nobody), with no capability left. Raises OSError."""
    if os.getuid() == 0:
        become(*ordinary_user(environment))
    clear_capabilities()


def ordinary_user(environment: Mapping[str, str]) -> tuple[int, int]:
    """User and group ids to go on with: who called sudo, else nobody."""
    try:
        user, group = int(environment["SUDO_UID"]), int(environment["SUDO_GID"])
    except (KeyError, ValueError):
        user = group = 0
    if user > 0 and group > 0:
        return user, group
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        return _NOBODY, _NOBODY
    return nobody.pw_uid, nobody.pw_gid


def become(user: int, group: int) -> None:
    """Changes user and groups where this user namespace knows them. Raises OSError."""
    if not (mapped(user, "uid_map") and mapped(group, "gid_map")):
        return
    if _may_set_groups():
        os.setgroups([])
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)


def _may_set_groups() -> bool:
    """An unprivileged user namespace forbids it (user_namespaces(7))."""
    try:
        return Path("/proc/self/setgroups").read_text().strip() == "allow"
    except FileNotFoundError:
        return True


def mapped(number: int, which: str) -> bool:
    """Whether the id exists in this user namespace (``uid_map`` or ``gid_map``)."""
    for line in Path("/proc/self", which).read_text().splitlines():
        first, _outside, count = map(int, line.split())
        if first <= number < first + count:
            return True
    return False


def clear_capabilities() -> None:
    """Empties the capability sets, and forbids gaining any by exec. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    if libc.capset(header, nothing) != 0:
        raise OSError(ctypes.get_errno(), "capset")
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
