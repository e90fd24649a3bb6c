"""The keys of a session beside OpenSSL: they seal what it never sends, and open what it leaves.

OpenSSL goes on writing until somebody asks for a record by hand. From then on all of ours are
sealed here, since it does not know of the sequence numbers that were used.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from OpenSSL import SSL

from tlsprobe.model.target import TlsVersion
from tlsprobe.model.trace import Side
from tlsprobe.records.key_log import Opened
from tlsprobe.records.sealing import Sealer, opened, records_in, sealer_of

_OF_NO_USE = (b"CLIENT_HANDSHAKE_", b"SERVER_HANDSHAKE_", b"EXPORTER_")

Opener = Callable[[bytes, int], Opened | None]
"""What opens a side's records, each with its number behind its Finished."""


class SessionKeys:
    """What the key log tells of one session, from the place of ``side``.

    ``sealer`` writes our records once somebody has asked for one, None until then.
    """

    def __init__(self, side: Side, connection: SSL.Connection) -> None:
        self._side = side
        self._connection = connection
        self._log: list[bytes] = []
        self._cipher: str | None = None
        self._written = 0
        self._last = b""
        self.sealer: Sealer | None = None

    @property
    def cipher(self) -> str | None:
        """The cipher suite by OpenSSL's name."""
        return self._cipher or self._connection.get_cipher_name()

    def keep_cipher(self) -> None:
        """Keep the suite's name: OpenSSL forgets it where another handshake begins."""
        self._cipher = self.cipher

    def note(self, line: bytes) -> None:
        """A line of the key log; what is of no use behind the handshake is not kept."""
        if not line.startswith(_OF_NO_USE):
            self._log.append(line)

    def count(self, data: bytes) -> None:
        """Keep in mind which records of OpenSSL's have gone out under the keys of the session."""
        records = records_in(data)
        if records and self.sealer is None:
            self._written += len(records)
            self._last = records[-1]

    def take_over(self, version: TlsVersion) -> bool:
        """Whether our records are sealed here from now on.

        Not where the suite does not allow it, or OpenSSL's last record says otherwise.
        """
        if self.sealer is None:
            finished = int(version is TlsVersion.TLS12)
            number = self._written + finished
            sealer = sealer_of(self._side, self.cipher or "", self._log, self._random, number)
            if sealer is not None and (not self._last or sealer.follows(self._last)):
                self.sealer = sealer
        return self.sealer is not None

    def opener(self, side: Side) -> Opener:
        """What opens the records of a side."""
        return partial(
            opened,
            side=side,
            cipher=self.cipher or "",
            key_log=self._log,
            server_random=self._random,
        )

    def opened(self, record: bytes, place: int) -> Opened | None:
        """What is in the ``place``-th record of the peer's behind its Finished."""
        return self.opener(self._side.peer)(record, place)

    def next_of_ours(self, record: bytes) -> Opened | None:
        """What is in the record that OpenSSL would send next."""
        return self.opener(self._side)(record, self._written)

    @property
    def _random(self) -> bytes:
        return self._connection.server_random() or b""
