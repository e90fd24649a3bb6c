"""The alerts of TLS: a level, and a description that says what is wrong (RFC 8446 section 6)."""

from __future__ import annotations

CLOSE_NOTIFY = 0
"""The alert description of close_notify (RFC 8446 section 6)."""

_NAMES = {
    0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 21: "decryption_failed",
    22: "record_overflow", 30: "decompression_failure", 40: "handshake_failure",
    41: "no_certificate", 42: "bad_certificate", 43: "unsupported_certificate",
    44: "certificate_revoked", 45: "certificate_expired", 46: "certificate_unknown",
    47: "illegal_parameter", 48: "unknown_ca", 49: "access_denied", 50: "decode_error",
    51: "decrypt_error", 70: "protocol_version", 71: "insufficient_security",
    80: "internal_error", 86: "inappropriate_fallback", 90: "user_canceled",
    100: "no_renegotiation", 109: "missing_extension", 110: "unsupported_extension",
    112: "unrecognized_name", 113: "bad_certificate_status_response", 115: "unknown_psk_identity",
    116: "certificate_required", 120: "no_application_protocol",
}  # fmt: skip
"""Alert descriptions by number (the TLS Alerts registry of IANA)."""

FATAL = 2
"""The level of an alert that ends the connection (RFC 5246 section 7.2)."""

_USER_CANCELED = 90

_NUMBERS = {name: number for number, name in _NAMES.items()}


def alert_name(alert: tuple[int, int]) -> str:
    """``close_notify``, ``unknown_ca`` or ``alert 123``."""
    return _NAMES.get(alert[1], f"alert {alert[1]}")


LEVELS = {"warning": 1, "fatal": FATAL}
"""The levels of alerts by name (RFC 5246 section 7.2)."""

DESCRIPTIONS = tuple(_NUMBERS)
"""The names of the descriptions, in the order of their numbers."""


def is_error(alert: tuple[int, int], tls: str | None) -> bool:
    """Whether an alert ends the connection in that TLS version.

    In TLS 1.3 the level says nothing, and two alerts are no errors (RFC 8446 section 6).
    """
    level, description = alert
    if tls == "1.3":
        return description not in {CLOSE_NOTIFY, _USER_CANCELED}
    return level == FATAL


def alert_number(words: str) -> int | None:
    """The description that ``close_notify`` or, as others spell it, ``Close Notify`` stands for."""
    return _NUMBERS.get(words.strip().lower().replace(" ", "_"))
