"""Values that no option takes, whichever command it is of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tlsprobe.cli.verbs import VERBS, load


def numbers() -> Iterator[tuple[Any, Any]]:
    """Each option of each command that is a length of time, or a rate, with its context."""
    for verb in VERBS:
        for name, command in {"": load(verb), **getattr(load(verb), "commands", {})}.items():
            context = command.make_context(name, [], resilient_parsing=True)
            context.resilient_parsing = False
            yield from ((one, context) for one in command.params if "float" in one.type.name)


def test_no_time_and_no_rate_is_endless_or_none() -> None:
    found = list(numbers())
    assert len(found) > 9
    for option, context in found:
        for word in ("nan", "inf", "-inf"):
            with pytest.raises(Exception, match="is not"):
                option.process_value(context, word)
