"""Text from peers, profiles and command lines, made safe to show.

A server's answer may hold terminal escapes, a table's delimiter or an arrow that runs from right
to left. What cannot be seen is spelled out, so that a report shows exactly what came.
"""

from __future__ import annotations

import re
import unicodedata

UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that print nothing, or that change how their neighbours print."""

NAMED = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}

_ALL = "utf-8"  # an encoding that lacks nothing

_MARKDOWN_SIGNS = re.compile(r"([\\`*\[\]|~])")
_OUTER_UNDERSCORE = re.compile(r"(?<!\w)_|_(?!\w)")
_LEADING_SIGN = re.compile(r"^(\s*)([#>+=-]|\d+[.)])(?=\s|$)")

_WORD = re.compile(r"[^\s`|]+")
_LIVE = re.compile(r"@\w|://|\bwww\.|(?:#|GH-)\d|:(?:100|1234|[a-z+-][\w+-]*):", re.IGNORECASE)
"""What a forge acts upon in running text, escaped or not: it tells somebody that he was named,
makes a link of an address, notes in another ticket that it was mentioned, or draws a face."""
_AROUND = ".,;:!?()[]{}<>'\""


def printable(text: str, encoding: str = _ALL) -> str:
    """The text with everything unseen, and all that ``encoding`` lacks, as backslash escapes."""
    if text.isprintable() and (encoding == _ALL or text.isascii()):
        return text
    seen = "".join(map(_spell, text))
    return seen.encode(encoding, "backslashreplace").decode(encoding)


def markdown_text(text: str) -> str:
    """The text as Markdown that renders as itself, in running text, a list or a table cell.

    What a forge would act upon, such as ``@name``, is code: that alone it leaves alone.
    """
    parts: list[str] = []
    done = 0
    for word in _WORD.finditer(text) if _LIVE.search(text) else ():
        if _LIVE.search(word[0]):
            inner = word[0].strip(_AROUND)
            inner = inner if _LIVE.search(inner) else word[0]
            begin = text.index(inner, word.start())
            parts += _plain(text[done:begin]), markdown_code(inner)
            done = begin + len(inner)
    return _LEADING_SIGN.sub(_quiet_sign, "".join([*parts, _plain(text[done:])]))


def _plain(text: str) -> str:
    """Words of which nothing is to become a sign of Markdown's."""
    safe = _MARKDOWN_SIGNS.sub(r"\\\1", printable(text))
    safe = safe.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _OUTER_UNDERSCORE.sub(r"\_", safe)


def markdown_code(text: str) -> str:
    """The text as a Markdown code span; its fence outgrows the backticks inside."""
    safe = printable(text)
    longest = max((len(ticks) for ticks in re.findall("`+", safe)), default=0)
    fence = "`" * (longest + 1)
    gap = " " if safe.startswith("`") or safe.endswith("`") or not safe else ""
    return f"{fence}{gap}{safe}{gap}{fence}"


def markdown_cell_code(text: str) -> str:
    """A code span inside a table, where a bar ends the cell even between backticks."""
    return markdown_code(text).replace("|", r"\|")


def _spell(character: str) -> str:
    if unicodedata.category(character) not in UNSEEN:
        return character
    code = ord(character)
    if code < 0x100:
        return NAMED.get(character, f"\\x{code:02x}")
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _quiet_sign(match: re.Match[str]) -> str:
    """A list or heading sign at the start, as itself: ``1.`` is escaped behind the number."""
    sign = match[2]
    quiet = f"{sign[:-1]}\\{sign[-1]}" if len(sign) > 1 else f"\\{sign}"
    return match[1] + quiet
