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
        return f"warning: {describe_expired(waiver)}: {findings} of it count again"
    if states == {WaiverState.UNUSED}:
        return f"warning: {waiver.where}: the waiver of {waiver.about} is unused: remove it"
    return f"waived ({waiver.where}): {findings} of {waiver.about}: {waiver.because}"


def describe_expired(waiver: Waiver) -> str:
    """That a waiver no longer holds, and since when."""
    return f"{waiver.where}: the waiver of {waiver.about} expired on {waiver.until}"
