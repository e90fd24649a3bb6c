"""The Job of docs/how-to/fleet.md: its pods together probe the whole list, each its own part."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests.docs.sessions import DOCS, blocks
from tlsprobe.fleet.asked import shard
from tlsprobe.fleet.ledger import LEDGER_FILE
from tlsprobe.model.fleet import FleetTarget

PAGE = DOCS / "how-to" / "fleet.md"
LIST = tuple(FleetTarget(f"127.0.0.{at}:443") for at in range(1, 30))


@pytest.fixture(scope="module")
def job() -> Any:
    (text,) = (one.text for one in blocks(PAGE) if "kind: Job" in one.text)
    return yaml.safe_load(text)


def asked_by(job: Any, index: int, results: Path) -> list[str]:
    """The words that the pod of an index gives to tlsprobe."""
    (container,) = job["spec"]["template"]["spec"]["containers"]
    (script,) = container["args"]
    fake = results / "tlsprobe"
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    fake.chmod(0o755)
    path = f"{results}:{os.environ['PATH']}"
    return subprocess.run(
        [*container["command"], script.replace("/results", str(results))],
        env={"JOB_COMPLETION_INDEX": str(index), "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()


def test_it_is_indexed_and_may_capture(job: Any) -> None:
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    spec = job["spec"]
    assert spec["completionMode"] == "Indexed"
    assert spec["template"]["spec"]["restartPolicy"] == "Never", "as backoffLimitPerIndex asks"
    (container,) = spec["template"]["spec"]["containers"]
    assert container["securityContext"]["capabilities"]["add"] == ["NET_RAW"]
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in spec["template"]["spec"]["volumes"]}


def test_its_pods_together_probe_the_whole_list(job: Any, tmp_path: Path) -> None:
    found: list[FleetTarget] = []
    folders = set()
    for index in range(job["spec"]["completions"]):
        words = asked_by(job, index, tmp_path)
        assert words[0] == "fleet"
        found += shard(words[words.index("--shard") + 1]).of(LIST)
        folders.add(words[words.index("--out") + 1])
    assert sorted(found, key=LIST.index) == list(LIST)
    assert len(folders) == job["spec"]["completions"]


def test_a_pod_that_is_started_again_goes_on(job: Any, tmp_path: Path) -> None:
    before = tmp_path / "part-3"
    before.mkdir()
    (before / LEDGER_FILE).touch()
    assert asked_by(job, 3, tmp_path) == ["fleet", "resume", str(before)]
