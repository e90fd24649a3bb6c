"""Waivers in sentences: what they let pass, that they are over, or that they are of no use."""

from __future__ import annotations

from collections.abc import Sequence

from tlsprobe.model.waiver import Waiver, WaiverState, WaiverUse
from tlsprobe.report.plurals import counted


def describe_waiver(waiver: Waiver, uses: Sequence[WaiverUse]) -> str:
    """What became of a waiver in some runs, in a line."""
    findings = counted(sum(len(use.findings) for use in uses), "finding")
    states = {use.state for use in uses}
    if WaiverState.EXPIRED in states:
        return (
            f"warning: {waiver.where}: the waiver of {waiver.about} expired on {waiver.until}:"
            f" {findings} of it count again"
        )
    if states == {WaiverState.UNUSED}:
        return f"warning: {waiver.where}: the waiver of {waiver.about} is unused: remove it"
    return f"waived ({waiver.where}): {findings} of {waiver.about}: {reason_of(waiver)}"


def reason_of(waiver: Waiver) -> str:
    """The reason, with its end."""
    return f"{waiver.reason} (until {waiver.until})" if waiver.until else waiver.reason
