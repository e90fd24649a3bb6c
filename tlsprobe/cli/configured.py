"""The options of a command as ``tlsprobe.toml`` and the command line say them together.

A key of the file is an option without its dashes. What is typed beats a target's table, that beats
the table of a command (``[fuzz]``, ``[lab]``), and that the top of the file, which is for ``run``
first: other commands take from it what is about servers and not about where reports go.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin

import typer
from typer.models import OptionInfo

from tlsprobe.cli.machines import seen_from_here
from tlsprobe.cli.taking import fill, flatten, parameters_of
from tlsprobe.configuration import (
    CONFIG_FILE,
    Configuration,
    ConfiguredTarget,
    read_configuration,
    read_waivers,
)
from tlsprobe.errors import UsageError
from tlsprobe.keys import Key, Keys, a_flag, a_text
from tlsprobe.model.judgement import FAIL_ON
from tlsprobe.model.target import Target, TlsVersion
from tlsprobe.model.waiver import Waiver
from tlsprobe.report.ci.notice import Place
from tlsprobe.sniff.capture import CHOICES

NOT_IN_FILE = frozenset({"target", "config", "resume"})
"""Options that make no sense in a file: a target is a table there."""

NOT_OF_TARGET = frozenset({
    *("out_dir", "json", "junit", "sarif", "gitlab", "github", "fail_on", "allow_unmeasured"),
    *("verbose", "quiet", "no_color", "delay_close"),
})  # fmt: skip
"""Options of the whole command, which a target's table cannot hold."""

MAY_BE_FILES = frozenset({"profile", "sequence"})
"""Options whose words may be the path of a file, as seen from the folder of ``tlsprobe.toml``."""

FUZZ, LAB = "fuzz", "lab"
"""The tables of commands other than ``run``."""

NOT_FOR_FUZZ = frozenset({"out_dir", "expect", "json", "junit", "sarif", "gitlab", "seed"})
"""Options of the top of the file, or of a target, that ``fuzz`` has too, and means otherwise."""

FOR_LAB = frozenset({"trials", "tls", "github", "quiet", "no_color"})
"""Options of the top of the file that ``lab run`` takes: its servers have timeouts of their own."""

_Options = TypeVar("_Options")

_WORDS = {"fail_on": tuple(FAIL_ON), "capture": CHOICES}


@dataclass(frozen=True, slots=True)
class Asked:
    """One target with its options: the address, a name, and the line of the file that holds it."""

    address: str
    options: Any
    name: str = ""
    line: int = 0
    expect: Path | None = None


@dataclass(frozen=True, slots=True)
class Configured:
    """The options of the command, its targets, and the file, if there is one."""

    options: Any
    targets: tuple[Asked, ...]
    configuration: Configuration | None = None

    @property
    def waivers(self) -> tuple[Waiver, ...]:
        """Those of the file."""
        return self.configuration.waivers if self.configuration is not None else ()

    def place_of(self, target: Target) -> Place | None:
        """The line of the file that names a target; None for one that it does not name."""
        for one in self.targets:
            names = {one.address, one.name} - {""}
            if one.line and self.configuration and names & {target.name, str(target)}:
                return Place(seen_from_here(self.configuration.file), one.line)
        return None


def configured(options: Any, context: typer.Context, file: Path | None) -> Configured:
    """What the command line of ``run`` and the file that belongs to it ask for. Raises UsageError.

    Without ``file``, a ``tlsprobe.toml`` in the working directory is read if it is there.
    """
    found = _read(file)
    if found is None:
        return Configured(options, tuple(Asked(one, options) for one in options.target or ()))
    typed = _typed(options, context)
    whole = _overlaid(options, found.options, typed)
    chosen = _chosen(options.target, found)
    targets = tuple(
        Asked(
            one.address,
            _overlaid(whole, one.options, typed),
            one.name,
            one.line,
            one.options.get("expect") if "expect" not in typed else None,
        )
        for one in chosen
    )
    return Configured(whole, targets, found)


def configured_fuzz(options: Any, context: typer.Context, file: Path | None) -> Configured:
    """What the command line of ``fuzz`` and the file ask for, with one target. Raises UsageError.

    The target is named by address or name, or is the only one of the file.
    """
    found = _read(file)
    typed = _typed(options, context)
    if found is None:
        targets = (Asked(options.target, options),) if options.target else ()
        return Configured(options, targets)
    chosen = tuple(_chosen([options.target] if options.target else None, found))
    if len(chosen) > 1:
        names = ", ".join(one.name or one.address for one in chosen)
        raise UsageError(
            f"{found.file} has {len(chosen)} targets", f"name one with --target: {names}"
        )
    said = _without(found.options, NOT_FOR_FUZZ) | dict(found.sections.get(FUZZ, {}))
    whole = _overlaid(options, said, typed)
    return Configured(
        whole,
        tuple(
            Asked(
                one.address,
                _overlaid(whole, _without(one.options, NOT_FOR_FUZZ), typed),
                one.name,
                one.line,
            )
            for one in chosen
        ),
        found,
    )


def configured_lab(options: _Options, context: typer.Context, file: Path | None) -> Configured:
    """What the command line of ``lab run`` and the file ask for. Raises UsageError."""
    found = _read(file)
    if found is None:
        return Configured(options, ())
    said = {name: value for name, value in found.options.items() if name in FOR_LAB}
    said |= found.sections.get(LAB, {})
    return Configured(_overlaid(options, said, _typed(options, context)), (), found)


def configured_waivers(file: Path | None) -> tuple[Waiver, ...]:
    """The waivers alone, of the file that was named or that is there. Raises UsageError."""
    place = _place(file)
    return () if place is None else read_waivers(place)


def _place(file: Path | None) -> Path | None:
    """The file that was named, or that of the working directory, if it is there."""
    place = file or Path(CONFIG_FILE)
    return None if file is None and not place.exists() else place


def _read(file: Path | None) -> Configuration | None:
    place = _place(file)
    if place is None:
        return None
    from tlsprobe.cli.run import RunOptions

    keys = _keys(RunOptions, place.parent)
    of_target = {name: key for name, key in keys.items() if key.into not in NOT_OF_TARGET}
    sections = {FUZZ: lambda: _fuzz_keys(place.parent), LAB: lambda: _lab_keys(place.parent)}
    return read_configuration(place, keys, of_target, sections)


def _fuzz_keys(folder: Path) -> Keys:
    from tlsprobe.cli.fuzz import FuzzOptions

    return _keys(FuzzOptions, folder)


def _lab_keys(folder: Path) -> Keys:
    from tlsprobe.cli.lab_run import LabOptions

    return _keys(LabOptions, folder)


def _typed(options: Any, context: typer.Context) -> set[str]:
    """The options that were typed, by the names of their fields."""
    return {name for name in flatten(options) if _is_typed(context, name)}


def _without(said: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in said.items() if name not in names}


def _is_typed(context: typer.Context, name: str) -> bool:
    """Whether an option was typed, or comes from the environment."""
    source = context.get_parameter_source(name)
    return source is not None and source.name in {"COMMANDLINE", "ENVIRONMENT"}


def _chosen(typed: list[str] | None, found: Configuration) -> Iterator[ConfiguredTarget]:
    """The targets that were typed, by address or by name, or else those of the file."""
    if not typed:
        yield from found.targets
        return
    for word in typed:
        known = (one for one in found.targets if word in {one.address, one.name})
        yield next(known, ConfiguredTarget(word))


def _overlaid(options: Any, said: Mapping[str, Any], typed: set[str]) -> Any:
    """The options with what a table says of them, but for what was typed."""
    own = flatten(options)
    values = {name: value for name, value in said.items() if name in own and name not in typed}
    return fill(type(options), {**own, **values})


# --- what a key may hold --------------------------------------------------------------------------


def _keys(made: type[Any], folder: Path) -> Keys:
    """A key for each option, named as on the command line, without its dashes."""
    keys: dict[str, Key] = {}
    for one in parameters_of(made):
        option = next(iter(get_args(one.annotation)[1:]), None)
        if isinstance(option, OptionInfo) and not option.hidden and one.name not in NOT_IN_FILE:
            check = _check(one.name, one.annotation, folder)
            keys[_word_for(one.name, option)] = Key(check, into=one.name)
    return keys


def _word_for(name: str, option: OptionInfo) -> str:
    """How an option is written: as declared, which typer keeps as its default, or as its field."""
    said = option.default if isinstance(option.default, str) else name.replace("_", "-")
    return said.partition("/")[0].removeprefix("--")


def _kind(annotation: Any) -> Any:
    """The type of an option, without the ``None`` that says it was not given."""
    kind = get_args(annotation)[0]
    others = [one for one in get_args(kind) if one is not NoneType]
    is_optional = NoneType in get_args(kind)
    return others[0] if is_optional and len(others) == 1 else kind


def _check(name: str, annotation: Any, folder: Path) -> Callable[[object], Any]:
    """The check of what a key holds, by the type of its option."""
    kind, option = _kind(annotation), get_args(annotation)[1]
    if kind is bool:
        return a_flag
    if kind is Path:
        return lambda value: folder / Path(a_text(value)).expanduser()
    if kind in {int, float}:
        return lambda value: _number(value, kind, option.min, option.max)
    if get_origin(kind) is list and get_args(kind) == (TlsVersion,):
        return lambda value: [_version(one) for one in _listed(value)]
    if get_origin(kind) is list:
        return lambda value: [_word(name, one, folder) for one in _listed(value)]
    return lambda value: _word(name, value, folder)


def _number(value: object, kind: type[Any], least: float | None, most: float | None) -> Any:
    what = "a whole number" if kind is int else "a number"
    if isinstance(value, bool) or not isinstance(value, int if kind is int else int | float):
        raise ValueError(f"write {what}, without quotes")
    fits = (least is None or value >= least) and (most is None or value <= most)
    if not fits or (isinstance(value, float) and not math.isfinite(value)):
        from_ = "" if least is None else f" of at least {least:g}"
        raise ValueError(f"write {what}{from_}{'' if most is None else f' and at most {most:g}'}")
    return kind(value)


def _listed(value: object) -> list[object]:
    """A list, or what stands for a list of one."""
    return value if isinstance(value, list) else [value]


def _version(value: object) -> TlsVersion:
    try:
        return TlsVersion(str(value))
    except ValueError:
        known = " or ".join(f'"{version}"' for version in TlsVersion)
        raise ValueError(f"write {known}") from None


def _word(name: str, value: object, folder: Path) -> str:
    text = a_text(value)
    choices = _WORDS.get(name, (text,))
    if text not in choices:
        raise ValueError(f"'{text}' is not one of {', '.join(choices)}")
    is_path = name in MAY_BE_FILES and ("/" in text or text.endswith(".toml"))
    return str(folder / text) if is_path and (folder / text).exists() else text
