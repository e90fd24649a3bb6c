"""Which kinds of logs a line may be of: told by words alone, which takes a tenth of the patterns.

Most lines of a log are of no kind that tells of a reset. In each line of a kind stands one of the
kind's words at least.
"""

from __future__ import annotations

from functools import lru_cache

from tlsprobe.captures.client_log_kinds import CLIENT_KINDS
from tlsprobe.captures.device_log_kinds import DEVICE_KINDS
from tlsprobe.captures.log_kinds import LOG_KINDS, LogKind
from tlsprobe.captures.wireshark_statistics import STATISTICS

LOGS = (*DEVICE_KINDS, *LOG_KINDS, *CLIENT_KINDS)
"""All kinds of logs."""

KINDS = (*STATISTICS, *LOGS)
"""The first that matches a line is the one that is counted."""

_LIKE_LETTERS = str.maketrans({"\u0130": "i", "\u0131": "i", "\u017f": "s", "\u212a": "k"})
"""What else a pattern takes for a letter where it does not mind the case."""

_BITS = {kind.name: 1 << place for place, kind in enumerate(KINDS)}
_PARTS = (
    *("reset", "tcp", "eof", "clos", "conn", "ssl", "err", "fail", "skb", "sy", "100", "wait"),
    *("sig", "curl", "serv", "head", "rst", "read", "abort", "client", "e("),
)
"""Without one of these, most words cannot be there."""

_OF_PART: dict[str, list[tuple[str, int]]] = {}
for _word in sorted({word for kind in KINDS for word in kind.words}):
    _part = next((part for part in _PARTS if part in _word), _word)
    _bits = sum(_BITS[kind.name] for kind in KINDS if _word in kind.words)
    _OF_PART.setdefault(_part, []).append((_word, _bits))
_WORDS_OF_PARTS = tuple(_OF_PART.items())


def possible_kinds(line: str) -> tuple[LogKind, ...]:
    """The kinds of which a word stands in the line, in their order."""
    text = (line if line.isascii() else line.translate(_LIKE_LETTERS)).lower()
    found = 0
    for part, words in _WORDS_OF_PARTS:
        if part in text:
            for word, bits in words:
                if word in text:
                    found |= bits
    return _kinds(found)


@lru_cache(maxsize=4096)
def _kinds(bits: int) -> tuple[LogKind, ...]:
    return tuple(kind for kind in KINDS if bits & _BITS[kind.name])
