"""Hypothesis, kept to what it is good at: making examples up, and making them shorter.

A live server is slow and flaky, and hypothesis expects neither. So it never sees one: generating
hands examples over as fast as they are wanted, whatever becomes of them, and shrinking asks about
one value at a time and is told the same whenever it asks again (the campaign remembers). Both may
be ended from outside at any moment. Nothing of hypothesis's own settings is left to a profile,
and it writes no file.

Its ``target()`` is left out: it needs the score of one example before it draws the next, and so
keeps to one connection at a time, with which a run tries less than half as many. What was new is
followed up by mutants (``mutation``), however many connections are under way.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from hypothesis import HealthCheck, Phase, Verbosity, find, given, seed, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir
from hypothesis.database import InMemoryExampleDatabase, choices_to_bytes

from tlsprobe.fuzz.alphabet import Alphabet, decode, encode, simpler, simplicity
from tlsprobe.model.fuzz import Example

_KEY: Final = b"start"

_NOWHERE: Final = Path(os.devnull, "hypothesis")


class Enough(BaseException):
    """Ends a hypothesis run from inside; not an Exception, which hypothesis would take as news."""


def examples(letters: Callable[[], Alphabet]) -> st.SearchStrategy[Example]:
    """Every example that the alphabet can say; hypothesis shrinks it towards the simplest.

    It may come to say other things, but by the same numbers.
    """

    @st.composite
    def made(draw: st.DrawFn) -> Example:
        return decode(letters(), lambda most: draw(_up_to(most)))

    return made()


def generate(
    letters: Callable[[], Alphabet], number: int, most: int, take: Callable[[Example], None]
) -> None:
    """Give ``take`` up to ``most`` examples, the same for the same seed ``number``.

    ``take`` may raise Enough, or anything else that is no Exception.
    """

    @seed(number)
    @_settings(max_examples=most, phases=(Phase.generate,))
    @given(examples(letters))
    def taking(example: Example) -> None:
        take(example)

    with suppress(Enough):
        taking()


def shrink(
    letters: Alphabet,
    start: Example,
    fails: Callable[[Example], bool],
    better: Callable[[Example], None],
) -> None:
    """Look for the simplest example that fails, and tell every one that is simpler than before.

    ``start`` is known to fail; what the alphabet cannot say is not shrunk. ``fails`` may raise
    Enough: the simplest so far has been told. Hypothesis takes words away; a last pass replaces
    each that is left by simpler ones, so that one fault comes out alike whatever it came from.
    """
    choices = encode(letters, start)
    if choices is None:
        return
    best = start

    def asked(example: Example) -> bool:
        nonlocal best
        failed = example == start or fails(example)
        if failed and simplicity(letters, example) < simplicity(letters, best):
            best = example
            better(example)
        return failed

    database = InMemoryExampleDatabase()
    # One choice too many: an example that is found exactly as it was saved counts as shrunk.
    database.save(_KEY, choices_to_bytes([*choices, 0]))
    how = _settings(database=database, phases=(Phase.reuse, Phase.shrink), max_examples=1)
    with suppress(Enough):
        find(examples(lambda: letters), asked, settings=how, database_key=_KEY)
        while any(asked(example) for example in simpler(letters, best)):
            pass


@contextmanager
def homeless() -> Iterator[None]:
    """Keep hypothesis's own folder from being made, here or elsewhere: it would outlive a SIGKILL.

    What it writes there it can do without, and does where nothing can be written.
    """
    set_hypothesis_home_dir(_NOWHERE)
    try:
        yield
    finally:
        set_hypothesis_home_dir(None)


def _up_to(most: int) -> st.SearchStrategy[int]:
    return st.integers(0, most)


def _settings(
    *, max_examples: int, phases: tuple[Phase, ...], database: InMemoryExampleDatabase | None = None
) -> settings:
    """All of them said, so that no profile (hypothesis loads one of its own in CI) says any."""
    return settings(
        max_examples=max_examples,
        derandomize=False,
        database=database,
        verbosity=Verbosity.quiet,
        phases=phases,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        deadline=None,
        print_blob=False,
    )
