"""The reference of ``import tlsprobe``: signatures and docstrings as Markdown."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import tlsprobe
from tests.docs.markdown import plain, table

LONGEST_DEFAULT = 24
"""Characters of a default that a signature shows."""

LONGEST_LINE = 60
"""Characters of parameters that stand in one line."""

_SECTION = re.compile(r"^(Args|Returns|Raises):\n", re.MULTILINE)
_ENTRY = re.compile(r"^    (\w+): ", re.MULTILINE)
_TITLES = {"Args": "Arguments", "Returns": "Returns", "Raises": "Raises"}


def python_page() -> Iterator[str]:
    """Functions first, then the values that they take and return, then the errors."""
    yield "# From Python"
    yield ""
    yield (
        "What `import tlsprobe` gives; the rest of the package may change. Nothing here prints or"
        " exits. A peer that misbehaves is a result; what goes wrong on our side is a"
        " `TlsprobeError`. Durations are in seconds; fields whose names end in `_us` are in"
        " microseconds. See [Use it from Python](../how-to/from-python.md)."
    )
    found = [(name, getattr(tlsprobe, name)) for name in tlsprobe.__all__]
    for name, function in found:
        if inspect.isroutine(function):
            yield from _function(name, function)
    for name, kind in found:
        if isinstance(kind, type):
            yield from _class(name, kind)


def _function(name: str, function: Any) -> Iterator[str]:
    yield f"\n## tlsprobe.{name}\n"
    yield "```text"
    yield _signature(name, function)
    yield "```\n"
    yield from _docstring(inspect.getdoc(function) or "")


def _signature(name: str, function: Any) -> str:
    inner = inspect.unwrap(function)
    parts = [str(_shortened(one)) for one in inspect.signature(inner).parameters.values()]
    kinds = [one.kind for one in inspect.signature(inner).parameters.values()]
    if inspect.Parameter.KEYWORD_ONLY in kinds:
        parts.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    waits = "await " if inspect.iscoroutinefunction(function) else ""
    inside = ", ".join(parts).replace("Ellipsis", "...")
    if len(inside) > LONGEST_LINE:
        inside = "".join(f"\n    {part.replace('Ellipsis', '...')}," for part in parts) + "\n"
    return f"{waits}tlsprobe.{name}({inside})"


def _shortened(parameter: inspect.Parameter) -> inspect.Parameter:
    default = parameter.default
    if len(repr(default)) > LONGEST_DEFAULT and default is not inspect.Parameter.empty:
        default = ...
    return parameter.replace(annotation=inspect.Parameter.empty, default=default)


def _class(name: str, kind: type) -> Iterator[str]:
    yield f"\n## tlsprobe.{name}\n"
    yield from _docstring(inspect.getdoc(kind) or "")
    if issubclass(kind, Enum):
        yield f"One of {', '.join(f'`{one.value}`' for one in kind)}.\n"
    elif is_dataclass(kind):
        rows = ((f"`{one.name}`", f"`{one.type}`") for one in fields(kind))
        yield from table(("field", "type"), rows)


def _docstring(text: str) -> Iterator[str]:
    text, _, example = text.partition("\n>>> ")
    first, *sections = _SECTION.split(text)
    yield f"{_prose(first)}\n"
    for title, section in zip(sections[::2], sections[1::2], strict=True):
        yield f"{_TITLES[title]}:\n"
        names = _ENTRY.split(section)
        for name, said in zip(names[1::2], names[2::2], strict=True):
            yield f"- `{name}`: {_prose(said)}"
        if len(names) == 1:
            yield f"- {_prose(section)}"
        yield ""
    if example:
        yield f"```python\n>>> {example}\n```\n"


def _prose(text: str) -> str:
    """A docstring's text, whose names stand in one backtick or two."""
    parts = re.split(r"(`[^`]+`)", text.replace("``", "`"))
    joined = "".join(one if one.startswith("`") else plain(one) for one in parts)
    return "\n\n".join(" ".join(part.split()) for part in joined.split("\n\n"))
