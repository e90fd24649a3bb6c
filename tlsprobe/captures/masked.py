"""Addresses that somebody has masked before the trace was shown: stars, blocks, words in brackets.

They become names, as programs print them: what tells one connection from another is kept, and no
more is made of them. Two ends that bear one mask are told apart by their ports.
"""

from __future__ import annotations

import re

_WORD = r"[A-Za-z][\w-]{0,40}(?:[ .][\w-]{1,20}){0,2}"
_IN_BRACKETS = re.compile(
    rf"(?<!\w)(?:<{_WORD}>|\{{{{?{_WORD}\}}?\}}|\({_WORD}\)|\[{_WORD}\]|\$\{{?[A-Za-z_]{{1,40}}\}}?)"
    r"(?=[.:][\w-]{1,40}(?::? |:$)| {1,40}-?> ?| {1,40}[<{($\[][A-Za-z]"
    r"| {1,40}(?:\d{1,5} {1,40})?[A-Z]{2,8}[\w./]{0,12} {1,40}\d)"
)
_BRACKETS = str.maketrans("", "", "<>{}()[]$")
_STARS = re.compile(r"(?<![\w*.])(?:(?:\d{1,3}|\*{1,3})\.){3}(?:\d{1,3}|\*{1,3})(?![\w*])")
_BLOCKS = re.compile("[\u2580-\u259f\u25a0]{1,60}")
_MARKS = ("<", "{", "(", "$", "[")
"""What a mask in brackets begins with."""


def may_be_masked(line: str) -> bool:
    """Whether a bracket begins a word beside the first arrow: a quick look at every line."""
    arrow = line.find(">")
    if arrow < 0:
        return False
    before = line[:arrow]
    if "<" in before or line[arrow + 1 : arrow + 9].lstrip().startswith(_MARKS):
        return True
    before = before.rstrip()
    return before.startswith(_MARKS, before.rfind(" ") + 1)


def unmasked(line: str) -> str:
    """The line with names in place of stars, and of words in brackets where an address belongs."""
    if "*" in line:
        line = _STARS.sub(_starless, line)
    return _IN_BRACKETS.sub(_named, line)


def without_blocks(line: str) -> str:
    """The line with a name in place of blocks."""
    return _BLOCKS.sub("masked", line)


def _starless(found: re.Match[str]) -> str:
    return re.sub(r"\*+", "x", found[0])


def _named(found: re.Match[str]) -> str:
    return re.sub("[ .]", "-", found[0].translate(_BRACKETS))
