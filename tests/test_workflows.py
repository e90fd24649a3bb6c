"""The workflow files under docs/ci: they are YAML of the right shape, and their commands work."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.cli.in_process import tlsprobe
from tests.e2e.test_campaign import reference
from tests.test_documentation import command_of, options_of
from tests.test_packaging import yaml_of

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "ci"

GITHUB = {"name", "on", "jobs", True}
"""YAML 1.1 takes ``on`` for a truth value."""


def read(name: str) -> Any:
    return yaml_of((FOLDER / name).read_text(encoding="utf-8"))


def scripts(name: str) -> list[str]:
    """The shell commands of a file."""
    document = read(name)
    if name == "github.yml":
        return [step["run"] for step in document["jobs"]["closes"]["steps"] if "run" in step]
    return list(document["tlsprobe"]["script"])


def probes(name: str) -> list[list[str]]:
    """The words behind ``tlsprobe`` of each command that runs it."""
    found = (
        re.split(r'"\$\(command -v tlsprobe\)" |^tlsprobe ', one.strip()) for one in scripts(name)
    )
    return [shlex.split(parts[1]) for parts in found if len(parts) > 1]


NAMES = ("github.yml", "gitlab.yml")


def test_there_are_no_others() -> None:
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(NAMES)


def test_the_github_workflow_has_its_shape() -> None:
    document = read("github.yml")
    assert set(document) <= GITHUB
    (job,) = document["jobs"].values()
    for step in job["steps"]:
        assert ("uses" in step) != ("run" in step)
    sarif = [step["with"] for step in job["steps"] if "upload-sarif" in step.get("uses", "")]
    assert sarif == [{"sarif_file": "tlsprobe.sarif"}]


def test_the_gitlab_job_has_its_shape() -> None:
    (job,) = read("gitlab.yml").values()
    assert job["artifacts"]["when"] == "always"
    assert set(job["artifacts"]["reports"]) == {"junit", "codequality"}


@pytest.mark.parametrize("name", NAMES)
def test_the_commands_exist(name: str) -> None:
    commands = probes(name)
    assert commands
    for words in commands:
        command, rest = command_of(words)
        assert {word for word in rest if word.startswith("--")} <= options_of(command)


@pytest.mark.packet_socket
@pytest.mark.parametrize("name", NAMES)
def test_the_commands_write_what_the_file_uploads(name: str, tmp_path: Path) -> None:
    (words,) = probes(name)
    with reference("polite") as ports:
        at = words.index("--target") + 1
        words[at : at + 3] = [f"127.0.0.1:{ports['polite']}", "--profile", "reference"]
        ran = tlsprobe(*words, "--trials", "1", "--quiet", "--tls", "1.3", cwd=tmp_path)
    assert ran.code in {0, 1}, ran.err
    text = (FOLDER / name).read_text(encoding="utf-8")
    written = set(re.findall(r"\b(?:gl-|tlsprobe)[\w-]*\.(?:xml|sarif|json)\b", text))
    assert len(written) == 2
    assert [file for file in written if not (tmp_path / file).exists()] == []
    assert (tmp_path / "tlsprobe-results" / "run.json").exists()
