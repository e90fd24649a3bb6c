"""``matrix.json``: the compatibility matrix for programs (``tlsprobe.matrix/1``)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import UNSET, UnsetType

from tlsprobe.model.judgement import Verdict
from tlsprobe.model.run import Cell, HostFacts, Idle, ReaderCounts, ResetCounts
from tlsprobe.model.target import Target
from tlsprobe.report.agreement import agreement_of
from tlsprobe.report.compatibility import Absent, Compatibility, Vendor
from tlsprobe.report.document import Document, encode_document, read_beside
from tlsprobe.report.ending import ending_of
from tlsprobe.report.lab_notes import read_lab_notes
from tlsprobe.report.summary_table import safety_of

MATRIX_SCHEMA = "tlsprobe.matrix/1"

MATRIX_FILE = "matrix.json"
"""The document's name in a folder of results folders."""


@dataclass(frozen=True, slots=True)
class TruthDocument:
    """The causes held against the kernel's own reasons, all runs added up."""

    runs: int
    resets: int
    agreed: int
    agreed_by_alternative: int
    disagreed: int
    unmatched: int
    not_seen: int
    lost: int


@dataclass(frozen=True, slots=True)
class VendorDocument:
    """A server: one that was measured, or why it is ``unsupported``, without the rest.

    ``version`` is what the server calls itself, null if unknown.
    """

    vendor: str
    title: str
    unsupported: str | UnsetType = UNSET
    group: str | UnsetType = UNSET
    version: str | UnsetType | None = UNSET
    tls_library: str | UnsetType | None = UNSET
    measured: str | UnsetType = UNSET
    host: HostFacts | UnsetType = UNSET
    target: Target | UnsetType = UNSET
    idle: Idle | UnsetType | None = UNSET
    safe_behind_forwarder: str | UnsetType = UNSET
    summary: dict[str, int] | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class GroupDocument:
    """Servers that close alike; neighbours in the list are alike too."""

    group: str
    words: str
    vendors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CellDocument:
    """A cell of a vendor, as in its run document.

    ``ending`` is the server's side of the commonest signature; null without an answer.
    """

    vendor: str
    sequence: str
    tls: str
    trials: int
    verdict: Verdict
    outcomes: dict[str, int]
    signatures: dict[str, int]
    ending: str | None
    causes: dict[str, int]
    resets: ResetCounts
    reader: ReaderCounts
    path_alive: bool | None
    reason: str | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class MatrixDocument:
    """Several servers, measured.

    ``command`` reproduces it, empty if not known. ``truth`` is null if the kernel was not asked.
    ``vendors`` holds the measured ones group by group, then those that are unsupported here.
    ``distances``: in the order of the measured vendors, the share of what two were both asked in
    which they end otherwise.
    """

    schema: str
    command: str
    truth: TruthDocument | None
    vendors: tuple[VendorDocument, ...]
    groups: tuple[GroupDocument, ...]
    distances: tuple[tuple[float, ...], ...]
    sequences: tuple[str, ...]
    cells: tuple[CellDocument, ...]


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
    document = MatrixDocument(
        schema=MATRIX_SCHEMA,
        command=command,
        truth=_truth(compatibility),
        vendors=tuple(_vendor(vendor, compatibility.letter_of(vendor)) for vendor in vendors),
        groups=tuple(
            GroupDocument(group.letter, group.habits, tuple(v.name for v in group.members))
            for group in compatibility.groups
        ),
        distances=tuple(tuple(round(apart, 4) for apart in row) for row in compatibility.apart),
        sequences=tuple(compatibility.sequences),
        cells=tuple(_cell(*pair) for pair in compatibility.cells(is_transposed=is_transposed)),
    )
    made: Document = msgspec.to_builtins(document)
    return made


def absent_in(folder: Path) -> tuple[Absent, ...]:
    """The vendors that the notes or the matrix of a folder of results folders call unsupported.

    They have no results folder of their own. Nothing if there is neither.

    Raises:
        UsageError: there is one, and it cannot be read.
    """
    if (notes := read_lab_notes(folder)) is not None:
        return notes.absent
    source = folder / MATRIX_FILE
    if not source.is_file():
        return ()
    listing = read_beside(source, _Listing, MATRIX_SCHEMA, "tlsprobe lab run")
    return tuple((v.vendor, v.title, v.unsupported) for v in listing.vendors if v.unsupported)


def _truth(compatibility: Compatibility) -> TruthDocument | None:
    titled = [(v.title, v.run) for v in compatibility.measured if v.run is not None]
    agreement = agreement_of(titled)
    if agreement is None:
        return None
    total = agreement.total
    return TruthDocument(
        runs=agreement.runs,
        resets=total.resets,
        agreed=total.agreed,
        agreed_by_alternative=total.agreed_by_alternative,
        disagreed=len(agreement.disagreements),
        unmatched=len(total.unmatched),
        not_seen=total.not_seen,
        lost=total.lost,
    )


def _vendor(vendor: Vendor, letter: str) -> VendorDocument:
    run = vendor.run
    if run is None:
        reason = vendor.reason or "no reason was given"
        return VendorDocument(vendor.name, vendor.title, unsupported=reason)
    return VendorDocument(
        vendor.name,
        vendor.title,
        group=letter,
        version=vendor.version,
        tls_library=vendor.tls_library,
        measured=run.started,
        host=run.host,
        target=run.target,
        idle=run.idle,
        safe_behind_forwarder=safety_of(run),
        summary=run.summary,
    )


def _cell(vendor: Vendor, cell: Cell) -> CellDocument:
    ending = ending_of(cell)
    return CellDocument(
        vendor=vendor.name,
        sequence=cell.sequence,
        tls=cell.tls,
        trials=cell.trials,
        verdict=cell.verdict,
        outcomes=cell.outcomes,
        signatures=cell.signatures,
        ending=ending.describe() if ending else None,
        causes=cell.causes,
        resets=cell.resets,
        reader=cell.reader,
        path_alive=cell.path_alive,
        reason=cell.reason or UNSET,
    )
