"""The document ``behaviours.json``: what a server was found to do, for ``--expect``."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tlsprobe.decoding import decoder
from tlsprobe.errors import UsageError
from tlsprobe.model.behaviour import KNOWN_SCHEMA, KnownBehaviours
from tlsprobe.spelling import speakable

KNOWN_FILE = "behaviours.json"

_MARK = KNOWN_SCHEMA.partition("/")[0]


def encode_known(known: KnownBehaviours) -> bytes:
    """The document as people open it, and compare it in a change."""
    data = msgspec.json.encode(speakable(msgspec.to_builtins(known)), order="deterministic")
    return msgspec.json.format(data, indent=1) + b"\n"


def is_known_document(data: bytes) -> bool:
    """Whether this is meant to be one, of whatever version."""
    try:
        document = msgspec.json.decode(data)
    except msgspec.DecodeError:
        return False
    schema = document.get("schema") if isinstance(document, dict) else None
    return isinstance(schema, str) and schema.startswith(_MARK)


def decode_known(data: bytes, source: Path) -> KnownBehaviours:
    """The document in ``data``; ``source`` is only named in errors. Raises UsageError."""
    try:
        known: KnownBehaviours = decoder(KnownBehaviours).decode(data)
    except msgspec.ValidationError as error:
        hint = "record the baseline again: every run writes the file into its results folder"
        raise UsageError(f"{source}: {error}", hint) from error
    if known.schema != KNOWN_SCHEMA:
        hint = f"this tlsprobe reads {KNOWN_SCHEMA}; record the baseline again"
        raise UsageError(f"{source}: the schema is {known.schema}", hint)
    return known
