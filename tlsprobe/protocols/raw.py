"""Any protocol in which fixed bytes draw a recognisable answer, told by a profile alone."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable

from tlsprobe.model.profile import RawSettings
from tlsprobe.protocols.conversation import Conversation, Phase

KEPT = 64 * 1024
"""How many of the newest unrecognised bytes a pattern is searched in."""


class Raw(Conversation):
    """Bytes out, a pattern in; what arrives unasked is ignored.

    Answers are recognised in the order of their requests, each in what the one before left over.
    """

    def __init__(self, settings: RawSettings) -> None:
        super().__init__()
        self._settings = settings
        self._arrived = bytearray()
        self._awaited: deque[re.Pattern[bytes]] = deque()

    def secured(self) -> bytes:
        """The profile's first words; GREETING only where it has a greeting to wait for."""
        self.phase = Phase.GREETING if self._settings.greeting else Phase.READY
        if self.phase is Phase.GREETING:
            self._greeted(b"")  # it may have come in one read with the server's Finished
        return self._settings.opening

    def feed(self, data: bytes) -> bytes:
        """Look for the greeting, then for the answers owed. Nothing is ever sent in return."""
        if self.phase is Phase.SECURE:
            self._keep(data)
        elif self.phase is Phase.GREETING:
            self._greeted(data)
        elif self.phase is Phase.OWED:
            self._answered(data)
        return b""

    def request(self) -> bytes:
        """The profile's request."""
        return self._ask(self._settings.request, self._settings.response)

    def large(self) -> bytes | None:
        """The profile's request for a large response, recognised like any other."""
        if self._settings.large is None:
            return None
        return self._ask(self._settings.large, self._settings.response)

    def goodbye(self) -> bytes | None:
        """The profile's goodbye; it may be one that owes an answer."""
        if self._settings.goodbye is None:
            return None
        return self._ask(self._settings.goodbye, self._settings.goodbye_response)

    def ended(self) -> None:
        """Too early for a greeting is a failure; a response cut short stays one."""
        if self.phase is Phase.GREETING:
            self.fail("the server closed the connection before its greeting was whole")

    def _ask(self, words: bytes, answer: re.Pattern[bytes] | None) -> bytes:
        if answer is not None:
            self._awaited.append(answer)
            self.owe()
        return words

    def _greeted(self, data: bytes) -> None:
        self._keep(data)
        greeting = self._settings.greeting
        if greeting is None or greeting.search(self._arrived):
            self._arrived.clear()
            self.phase = Phase.READY

    def _answered(self, data: bytes) -> None:
        self._keep(data)
        while self._awaited and (found := self._awaited[0].search(self._arrived)):
            del self._awaited[0], self._arrived[: found.end()]
            self.settle()
        if not self._awaited:
            self._arrived.clear()
        self.partial = bool(self._arrived)

    def _keep(self, data: bytes) -> None:
        self._arrived += data
        del self._arrived[:-KEPT]


def raw(settings: RawSettings) -> Callable[[], Raw]:
    """Conversations of these settings."""
    return lambda: Raw(settings)
