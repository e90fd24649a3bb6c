"""What a command tells a build server: files in its formats, annotations, the step summary."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlsprobe.cli.panels import OUTPUT_PANEL
from tlsprobe.cli.streams import in_actions, write_commands
from tlsprobe.errors import UsageError

if TYPE_CHECKING:
    from tlsprobe.report.blocks import Page
    from tlsprobe.report.ci.notice import Notice

SUMMARY = "GITHUB_STEP_SUMMARY"
"""What GitHub Actions sets: the file that takes the step summary."""

JunitOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Write JUnit XML to this file, for a build server.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]

SarifOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Write SARIF 2.1.0 to this file, for code scanning.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]

GitlabOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Write a GitLab code quality report to this file.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]

GithubOption = Annotated[
    bool | None,
    typer.Option(
        "--github/--no-github",
        help="Print annotations and write the step summary, as GitHub Actions reads them. Default:"
        " on in GitHub Actions.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]


@dataclass(frozen=True, slots=True)
class MachineOptions:
    """What is written for a build server."""

    junit: JunitOption = None
    sarif: SarifOption = None
    gitlab: GitlabOption = None
    github: GithubOption = None

    @property
    def wanted(self) -> bool:
        """Whether `write` has anything to do."""
        return bool(self.sarif or self.gitlab or wants_github(self.github))

    def write(self, notices: Sequence[Notice], page: Page) -> None:
        """Everything that was asked for, but the JUnit file. Raises UsageError.

        ``page`` is for the step summary.
        """
        if self.sarif is not None:
            from tlsprobe.report.ci.sarif import render_sarif

            write_report("--sarif", self.sarif, render_sarif(notices))
        if self.gitlab is not None:
            from tlsprobe.report.ci.gitlab import render_gitlab

            write_report("--gitlab", self.gitlab, render_gitlab(notices))
        if wants_github(self.github):
            annotate(notices, page)


def wants_github(asked: bool | None) -> bool:
    """Whether GitHub Actions is to be told: as asked, or because we are in it."""
    return in_actions() if asked is None else asked


def annotate(notices: Sequence[Notice], page: Page) -> None:
    """Annotations on standard error, where GitHub reads them too, and the step summary."""
    from tlsprobe.report.ci.github import github_lines

    write_commands(github_lines(notices))
    if summary := os.environ.get(SUMMARY):
        _append_summary(Path(summary), page)


def _append_summary(file: Path, page: Page) -> None:
    from tlsprobe.report.ci.github import SUMMARY_BYTES, summary_part
    from tlsprobe.report.render_markdown import render_markdown

    try:
        taken = file.stat().st_size if file.exists() else 0
        with file.open("a", encoding="utf-8") as stream:
            stream.write(summary_part(render_markdown(page), SUMMARY_BYTES - taken))
    except OSError as error:
        hint = f"the environment variable {SUMMARY} names it; --no-github does without"
        raise UsageError(f"cannot write the step summary {file}: {error.strerror}", hint) from error


def write_report(option: str, file: Path, document: bytes) -> None:
    """Write a report for a build server. Raises UsageError."""
    try:
        file.write_bytes(document)
    except OSError as error:
        hint = f"the run itself is in the results folder; give {option} another file"
        raise UsageError(f"cannot write {file}: {error.strerror}", hint) from error


def seen_from_here(file: Path) -> str:
    """The file as seen from the working directory, which in CI is the repository."""
    here, whole = Path.cwd(), file.absolute()
    return str(whole.relative_to(here) if whole.is_relative_to(here) else file)
