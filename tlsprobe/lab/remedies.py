"""A vendor of the lab with one of the remedies that its profile names: ``nginx+lingering``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tlsprobe.lab.availability import lab_of
from tlsprobe.model.profile import LabRemedy, Profile


def to_measure(profile: Profile) -> Iterator[Profile]:
    """The vendor as it is, then with each remedy that is a server's; nothing if it has none.

    What a client does is measured on the vendor as it is.
    """
    lab = lab_of(profile)
    if not lab.remedies:
        return
    names = dict.fromkeys(name for one in lab.remedies for name in _asked(one))
    yield replace(profile, lab=replace(lab, also=(), sequences=tuple(names)))
    for one in lab.remedies:
        if one.values:
            yield _treated(profile, one)


def _asked(remedy: LabRemedy) -> tuple[str, ...]:
    return (*remedy.sequences, *filter(None, (remedy.instead,)))


def _treated(profile: Profile, remedy: LabRemedy) -> Profile:
    lab = lab_of(profile)
    own = replace(
        lab,
        title=f"{lab.title or profile.title}, {remedy.says}",
        values={**lab.values, **remedy.values},
        sequences=remedy.sequences,
        remedies=(),
        also=(),
    )
    return replace(profile, name=remedy.on(profile.name), lab=own)
