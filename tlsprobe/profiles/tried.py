"""What came of the remedies of a profile when the lab tried them: ``tried.json`` beside it.

The lab measures, and the file is made of its facts; nobody writes it by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import msgspec

from tlsprobe.decoding import decoder
from tlsprobe.model.behaviour import TriedInLab
from tlsprobe.profiles import shipped_folder

TRIED_FILE = "tried.json"
"""Its name in the profile's folder."""


@cache
def tried_in_lab(profile: str) -> tuple[TriedInLab, ...]:
    """What the lab tried on the server of a profile that ships; nothing for any other."""
    folder = shipped_folder(profile)
    if folder is None or not (folder / TRIED_FILE).is_file():
        return ()
    found: tuple[TriedInLab, ...] = decoder(tuple[TriedInLab, ...]).decode(
        (folder / TRIED_FILE).read_bytes()
    )
    return found


def write_tried(folder: Path, tried: Sequence[TriedInLab]) -> None:
    """Write the file into a profile's folder. Raises OSError."""
    document = msgspec.json.format(msgspec.json.encode(tried), indent=1) + b"\n"
    (folder / TRIED_FILE).write_bytes(document)
