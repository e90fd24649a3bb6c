"""Commands whose options are the fields of a frozen dataclass.

A dataclass in a dataclass stands for its fields, so that options that several commands take are
written once. ``taking`` makes a command of the dataclass and a function of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from inspect import Parameter, Signature
from typing import Any, TypeVar, get_type_hints

_Options = TypeVar("_Options")
Command = Callable[..., None]


def taking(options: type[_Options]) -> Callable[[Callable[[_Options], None]], Command]:
    """Give a command the options that are the fields of a dataclass, and their values as one."""

    def made(command: Callable[[_Options], None]) -> Command:
        def parsed(**given: Any) -> None:
            command(fill(options, given))

        parameters = list(parameters_of(options))
        parsed.__name__, parsed.__doc__ = command.__name__, command.__doc__
        parsed.__annotations__ = {one.name: one.annotation for one in parameters}
        parsed.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        return parsed

    return made


def parameters_of(options: type[Any]) -> Iterator[Parameter]:
    """The fields of a dataclass as parameters, those of a dataclass in it in its place."""
    for field, kind in _fields(options):
        if is_dataclass(kind):
            yield from parameters_of(kind)
        else:
            default = Parameter.empty if field.default is MISSING else field.default
            yield Parameter(field.name, Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def fill(options: type[_Options], given: Mapping[str, Any]) -> _Options:
    """The dataclass, with the values that were given."""
    values = {
        field.name: fill(kind, given) if is_dataclass(kind) else given[field.name]
        for field, kind in _fields(options)
    }
    return options(**values)


def flatten(options: object) -> dict[str, Any]:
    """The values of a dataclass of options by name, those of a dataclass in it in its place."""
    values: dict[str, Any] = {}
    for field, kind in _fields(type(options)):
        value = getattr(options, field.name)
        values |= flatten(value) if is_dataclass(kind) else {field.name: value}
    return values


def _fields(options: type[Any]) -> Iterator[tuple[Field[Any], type[Any]]]:
    hints = get_type_hints(options, include_extras=True)
    yield from ((field, hints[field.name]) for field in fields(options))
