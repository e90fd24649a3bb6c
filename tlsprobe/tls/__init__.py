"""TLS without a socket: ciphertext goes in and out of memory, typed records come out.

OpenSSL runs over memory BIOs (RFC 8446 and 5246 as it implements them), which lets us see both
sides of it. Two habits make every byte on the wire nameable:

* Incoming ciphertext is handed over one record at a time, so that a record is known by what came
  of it: application data, an alert, a ticket, a handshake message. No guess is made from a length;
  a close_notify may be padded. Only the records of a handshake are handed over together: OpenSSL
  reads from memory no further than the record that it works on, and so what it left unread tells
  which record ended the handshake and which carried an alert.
* Alerts are read from OpenSSL's info callback, which gives level and description in both
  versions, although TLS 1.3 encrypts them.

What OpenSSL has no way to send, ``seal`` makes with the session's own keys; from then on all our
records are made so, and what OpenSSL itself would say is dropped.

This is the only room that imports pyOpenSSL, and the only one that knows OpenSSL's words.
"""

from tlsprobe.tls.context import (
    OPENSSL_VERSION,
    TlsContext,
    client_context,
    is_encrypted,
    server_context,
)
from tlsprobe.tls.session import Received, TlsSession

__all__ = [
    "OPENSSL_VERSION",
    "Received",
    "TlsContext",
    "TlsSession",
    "client_context",
    "is_encrypted",
    "server_context",
]
