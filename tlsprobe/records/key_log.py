"""The key log of TLS sessions (SSLKEYLOGFILE, draft-ietf-tls-keylogfile), and what it opens.

Reading it takes no cryptography: that is imported where there is something to open.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

Secrets = dict[str, bytes]
"""The secrets of one session by their label in the key log."""

_MOST_SESSIONS = 100_000


class Opened(NamedTuple):
    """What was in a record: its inner type and its content."""

    kind: int
    content: bytes


def read_key_log(texts: Iterable[bytes]) -> dict[bytes, Secrets]:
    """Secrets by the client's random; lines that are no secrets are passed over."""
    sessions: dict[bytes, Secrets] = {}
    for line in (line for text in texts for line in text.splitlines()):
        words = line.split()
        if len(words) != 3 or line.startswith(b"#"):
            continue
        try:
            random, secret = bytes.fromhex(words[1].decode()), bytes.fromhex(words[2].decode())
        except ValueError:
            continue
        if random in sessions or len(sessions) < _MOST_SESSIONS:
            sessions.setdefault(random, {})[words[0].decode("ascii", "replace")] = secret
    return sessions
