"""``matrix.json``: the compatibility matrix for programs (``tlsprobe.matrix/1``)."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import msgspec

from tlsprobe.errors import UsageError
from tlsprobe.model.run import Cell
from tlsprobe.report.agreement import agreement_of
from tlsprobe.report.compatibility import Absent, Compatibility, Vendor
from tlsprobe.report.document import Document, encode_document
from tlsprobe.report.ending import ending_of
from tlsprobe.report.summary_table import safety_of

MATRIX_SCHEMA = "tlsprobe.matrix/1"

MATRIX_FILE = "matrix.json"
"""The document's name in a folder of results folders."""


@dataclass(frozen=True, slots=True)
class _Listed:
    vendor: str
    title: str
    unsupported: str = ""


@dataclass(frozen=True, slots=True)
class _Listing:
    schema: str
    vendors: tuple[_Listed, ...]


def encode_matrix(
    compatibility: Compatibility,
    command: str = "",
    *,
    is_transposed: bool = False,
) -> bytes:
    """The document as people open it; transposed, its cells stand sequence by sequence."""
    return encode_document(matrix_document(compatibility, command, is_transposed=is_transposed))


def matrix_document(
    compatibility: Compatibility,
    command: str = "",
    *,
    is_transposed: bool = False,
) -> Document:
    """The document as plain values."""
    vendors = (*compatibility.measured, *compatibility.absent)
    return {
        "schema": MATRIX_SCHEMA,
        "command": command,
        "truth": _truth(compatibility),
        "vendors": [_vendor(vendor, compatibility.letter_of(vendor)) for vendor in vendors],
        "groups": [
            {
                "group": group.letter,
                "words": group.habits,
                "vendors": [vendor.name for vendor in group.members],
            }
            for group in compatibility.groups
        ],
        "distances": [[round(apart, 4) for apart in row] for row in compatibility.apart],
        "sequences": list(compatibility.sequences),
        "cells": [_cell(*pair) for pair in compatibility.cells(is_transposed=is_transposed)],
    }


def absent_in(folder: Path) -> tuple[Absent, ...]:
    """The vendors that the matrix of a folder of results folders calls unsupported.

    They have no results folder of their own that could tell. Nothing if there is no matrix.

    Raises:
        UsageError: there is one, and it cannot be read.
    """
    source = folder / MATRIX_FILE
    if not source.is_file():
        return ()
    hint = f"delete it, or restore it; 'tlsprobe lab run' writes {MATRIX_FILE}"
    try:
        listing = msgspec.json.decode(source.read_bytes(), type=_Listing)
    except OSError as error:
        raise UsageError(f"{source}: {error.strerror}", hint) from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UsageError(f"{source}: {error}", hint) from error
    if listing.schema != MATRIX_SCHEMA:
        raise UsageError(f"{source}: schema: {MATRIX_SCHEMA} is wanted, not {listing.schema}", hint)
    return tuple((v.vendor, v.title, v.unsupported) for v in listing.vendors if v.unsupported)


def matrix_schema() -> Document:
    """The JSON Schema (2020-12) of the document, as it ships with the package."""
    text = resources.files("tlsprobe.report").joinpath("matrix.schema.json").read_bytes()
    schema: Document = msgspec.json.decode(text)
    return schema


def _truth(compatibility: Compatibility) -> Document | None:
    titled = [(v.title, v.run) for v in compatibility.measured if v.run is not None]
    agreement = agreement_of(titled)
    if agreement is None:
        return None
    return {
        "runs": agreement.runs,
        "resets": agreement.total.resets,
        "agreed": agreement.total.agreed,
        "agreed_by_alternative": agreement.total.agreed_by_alternative,
        "disagreed": len(agreement.disagreements),
        "untold": len(agreement.total.untold),
        "not_seen": agreement.total.not_seen,
        "lost": agreement.total.lost,
    }


def _vendor(vendor: Vendor, letter: str) -> Document:
    about: Document = {"vendor": vendor.name, "title": vendor.title}
    run = vendor.run
    if run is None:
        return {**about, "unsupported": vendor.reason or "no reason was given"}
    return {
        **about,
        "group": letter,
        "version": vendor.version,
        "tls_library": vendor.tls_library,
        "measured": run.started,
        "host": msgspec.to_builtins(run.host),
        "target": msgspec.to_builtins(run.target),
        "idle": msgspec.to_builtins(run.idle),
        "safe_behind_forwarder": safety_of(run),
        "summary": dict(run.summary),
    }


def _cell(vendor: Vendor, cell: Cell) -> Document:
    ending = ending_of(cell)
    document: Document = {
        "vendor": vendor.name,
        "sequence": cell.sequence,
        "tls": cell.tls,
        "trials": cell.trials,
        "verdict": str(cell.verdict),
        "outcomes": dict(cell.outcomes),
        "signatures": dict(cell.signatures),
        "ending": ending.words() if ending else None,
        "causes": dict(cell.causes),
        "resets": msgspec.to_builtins(cell.resets),
        "reader": msgspec.to_builtins(cell.reader),
        "path_alive": cell.path_alive,
    }
    return document | ({"reason": cell.reason} if cell.reason else {})
