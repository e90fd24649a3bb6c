"""``lab.json``: what a lab has to say beside the facts of what it measured.

It stands beside the folders of the runs, for the pages that are made of all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from tlsprobe.report.compatibility import Absent
from tlsprobe.report.document import read_beside

LAB_FILE = "lab.json"
"""The name of the notes in a folder of results folders."""

NOTES_SCHEMA = "tlsprobe.lab/1"


@dataclass(frozen=True, slots=True)
class LabNotes:
    """The command line that measured; name, title and reason of what could not be measured.

    ``circumstances`` is what a reader must know before believing it all. ``unfinished_since`` is
    when a lab began that did not come to its end, empty where it did.
    """

    command: str
    absent: tuple[Absent, ...] = ()
    circumstances: str = ""
    unfinished_since: str = ""
    schema: str = NOTES_SCHEMA


def encode_lab_notes(notes: LabNotes) -> bytes:
    """The notes as people open them."""
    document = msgspec.to_builtins(notes)
    if not notes.unfinished_since:
        del document["unfinished_since"]
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


def read_lab_notes(folder: Path) -> LabNotes | None:
    """The notes in a folder; None if there are none. Raises UsageError for damaged ones."""
    source = folder / LAB_FILE
    if not source.is_file():
        return None
    return read_beside(source, LabNotes, NOTES_SCHEMA, "tlsprobe lab")
