"""Reads ``profile.toml``: what is known about a kind of server before it is measured.

A file is checked as a whole. Whoever writes one gets every mistake in it at once, each with the
file, the key and what to write instead.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from tlsprobe.errors import UsageError
from tlsprobe.keys import Key, Keys, a_duration, a_name, a_port, a_text, checked, some_names
from tlsprobe.model.profile import Directive, Lab, Profile
from tlsprobe.model.sequence import MEANINGS, Signal
from tlsprobe.profiles.lab import lab
from tlsprobe.protocols import PROTOCOLS

FILE = "profile.toml"
"""What a profile's file is called in its folder."""


def list_profiles() -> list[str]:
    """The names of the profiles that ship with tlsprobe, sorted."""
    return list(_names())


def shipped_folder(name: str) -> Path | None:
    """The folder of a profile that ships with tlsprobe; None if there is none of this name."""
    return _shipped() / name if name in _names() else None


@cache
def _names() -> tuple[str, ...]:
    return tuple(sorted(file.parent.name for file in _shipped().glob(f"*/{FILE}")))


def profiles_with_port(port: int) -> list[str]:
    """The names of those whose file says this port.

    To read them all for one takes a third of a second: here only the line of the port is.
    """
    line = re.compile(rf"^port *= *{port}\b", re.MULTILINE)
    files = ((name, _shipped() / name / FILE) for name in _names())
    return [name for name, file in files if line.search(file.read_text(encoding="utf-8"))]


def load_profile(name_or_path: str, protocol: Mapping[str, Any] | None = None) -> Profile:
    """Load a shipped profile by name, or any by the path of its file or folder.

    What ends in ``.toml`` or contains a slash is a path. ``protocol`` holds keys of the protocol's
    table that are to say something else than in the file. Raises UsageError that lists names like
    an unknown one, or every mistake of the file. That the named sequences exist is not checked.
    """
    if name_or_path in _names() and not protocol:
        return _shipped_profile(name_or_path)
    return _read(_find(name_or_path), protocol or {})


@cache
def _shipped_profile(name: str) -> Profile:
    """What ships does not change while we run, and is asked for again and again."""
    return _read(_shipped() / name / FILE, {})


@cache
def _shipped() -> Path:
    package = Path(__file__).parent.parent
    installed = package / "_profiles"
    return installed if installed.is_dir() else package.parent / "profiles"


def _find(name_or_path: str) -> Path:
    if "/" in name_or_path or name_or_path.endswith(".toml"):
        path = Path(name_or_path).expanduser()
        return path / FILE if path.is_dir() else path
    if name_or_path in (names := _names()):
        return _shipped() / name_or_path / FILE
    near = get_close_matches(name_or_path, names, n=3, cutoff=0.5)
    meant = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    hint = f"{meant}'tlsprobe profiles' lists them all; or give the path of a {FILE}"
    raise UsageError(f"there is no profile {name_or_path!r}", hint)


def _document(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"{file}: cannot be read: {error.strerror}", "check the path after --profile"
        ) from None
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{file}: not UTF-8 at byte {error.start}", "save the file as UTF-8, as TOML asks"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file}: not TOML: {error}", "correct the line that it names") from None


def _read(file: Path, protocol: Mapping[str, Any]) -> Profile:
    mistakes: list[str] = []
    document = _filled_in(_document(file), mistakes)
    if isinstance(said := document.get("protocol"), dict):
        document["protocol"] = {**said, **protocol}
    profile = _profile(document, file.parent.absolute(), mistakes)
    if mistakes or profile is None:
        count = "a mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        lines = "\n".join(f"{file}: {mistake}" for mistake in mistakes)
        raise UsageError(f"the profile has {count}:\n{lines}", "each line names the key to correct")
    return profile


def _filled_in(document: dict[str, Any], mistakes: list[str]) -> dict[str, Any]:
    """What the document leaves out is said by the profile that it is ``like``.

    The table of the protocol is filled in key by key, so that one of them can be another.
    """
    like = document.get("like")
    if like is None:
        return document
    said = _document(_shipped() / like / FILE) if like in _names() else {}
    if not said or "like" in said:
        mistakes.append("like: write the name of a shipped profile that is like no other itself")
        return document
    filled = {name: value for name, value in said.items() if name not in _OWN} | document
    if isinstance(filled["protocol"], dict):
        filled["protocol"] = said["protocol"] | filled["protocol"]
    return filled


def _few(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 2:
        return value
    raise ValueError("write how many connections may be open at once, at least 2")


def _directives(value: object) -> tuple[Directive, ...]:
    if isinstance(value, dict) and all(isinstance(effect, str) for effect in value.values()):
        return tuple(Directive(name, effect) for name, effect in value.items())
    raise ValueError('write lines of the form setting = "what it does to a close"')


def _protocol(table: object, path: str, mistakes: list[str]) -> dict[str, Any]:
    adapter = table.get("adapter") if isinstance(table, dict) else None
    if not isinstance(adapter, str) or adapter not in PROTOCOLS:
        said = "missing" if adapter is None else f"{adapter!r} is not one"
        mistakes.append(f"{path}.adapter: {said}; write one of {', '.join(PROTOCOLS)}")
        return {}
    return {"protocol": adapter, "settings": PROTOCOLS[adapter].read(table, path, mistakes)}


def _idle(value: object, path: str, mistakes: list[str]) -> dict[str, Any]:
    return checked(value, _IDLE, path, mistakes)


def _signals(value: object) -> Mapping[Signal, str]:
    """What the server's process is told by which signal."""
    if not isinstance(value, dict) or not {*value} <= {*MEANINGS}:
        raise ValueError(f"write a table of {', '.join(MEANINGS)}, each with a signal's name")
    known = [signal for signal in Signal if signal not in MEANINGS]
    if not {*value.values()} <= {*known}:
        raise ValueError(f"write signals by name: {', '.join(known)}")
    return {Signal(what): str(name) for what, name in value.items()}


_IDLE: Keys = {
    "timeout": Key(a_duration, required=True, into="idle_s"),
    "source": Key(a_text, required=True, into="idle_source"),
}
_TOP: Keys = {
    "name": Key(a_name, required=True),
    "title": Key(a_text, required=True),
    "port": Key(a_port, required=True),
    "protocol": Key(required=True, inside=_protocol),
    "idle": Key(inside=_idle),
    "connections": Key(_few),
    "sequences": Key(some_names),
    "alpn": Key(some_names),
    "image": Key(a_text),
    "notes": Key(a_text),
    "directives": Key(_directives),
    "signals": Key(_signals),
    "lab": Key(),
    "like": Key(a_name),
}
_OWN = ("name", "title", "image", "lab")
"""What is true of one profile alone, however like another it is."""


def _profile(document: object, folder: Path, mistakes: list[str]) -> Profile | None:
    values = checked(document, _TOP, "", mistakes)
    values |= values.pop("protocol", {}) | values.pop("idle", {})
    if "lab" in values:
        values["lab"] = lab(values["lab"], folder, mistakes)
        _lab_protocol(document, values["lab"], mistakes)
    return None if mistakes else Profile(**values)


def _lab_protocol(document: object, read: Lab | None, mistakes: list[str]) -> None:
    """Whether the protocol's table can say what it is to say in the lab."""
    if read is not None and read.protocol and isinstance(document, dict) and not mistakes:
        _protocol({**document["protocol"], **read.protocol}, "lab.protocol", mistakes)
