"""``tlsprobe lab`` with real servers: started, probed, held against the kernel, and gone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from tests.children import child
from tests.e2e.probing import Ran, tlsprobe
from tlsprobe.campaign.reading import holds_results, read_results
from tlsprobe.model.causes import Cause
from tlsprobe.model.run import Change, Run
from tlsprobe.profiles import list_profiles, load_profile
from tlsprobe.report.document import read_run
from tlsprobe.report.schema import closed, run_schema

pytestmark = [pytest.mark.packet_socket, pytest.mark.server("nginx", "redis-server", "postgres")]

SEQUENCES = (
    *("close-notify-fin", "fin-only", "terminate-close-notify", "abort"),
    *("idle-expiry", "idle-expiry-reply"),
)
CERTAIN = ("close-notify-fin", "fin-only", "abort", "idle-expiry")
"""Those whose end does not depend on who is quicker, server or client: a busy machine is slow."""

COLUMNS = ("nginx", "nginx-http2", "postgres", "redis")

COMMITTED = Path(__file__).parents[2] / "results"
"""What was measured of these servers when it was last looked at."""

FAILING = """
name = "failing"
title = "A server that does not want to"
port = 8443
[protocol]
adapter = "raw"
[lab]
start = ["sh", "-c", "echo not today; exit 7"]
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A handful of vendors, one of which fails, in a few sequences."""
    place = tmp_path_factory.mktemp("lab")
    (place / "failing").mkdir()
    (place / "failing" / "profile.toml").write_text(FAILING, encoding="utf-8")
    vendors = ("nginx", "./failing", "postgres", "redis")
    ran = run_lab(place, *vendors, "--out", "out", "--expect", str(COMMITTED))
    assert ran.code in {0, 1}, ran.err  # 1: changed, for which there is a test of its own
    return ran


def run_lab(place: Path, *words: str) -> Ran:
    """``lab run`` in a folder, after which nothing but its results may be left."""
    asked = [word for name in SEQUENCES for word in ("--sequence", name)]
    with nothing_left() as scratch:
        env = {"TMPDIR": str(scratch)}
        return tlsprobe("lab", "run", *words, "--trials", "2", *asked, cwd=place, env=env)


@contextmanager
def nothing_left() -> Iterator[Path]:
    """A folder for scratch folders, open to servers that run as somebody else (pytest's are not).

    After the block neither a file nor a process is left in it.
    """
    with tempfile.TemporaryDirectory(prefix="tlsprobe-test-") as name:
        scratch = Path(name)
        scratch.chmod(0o755)
        yield scratch
        assert list(scratch.iterdir()) == []
        assert list(processes_below(scratch)) == []


def processes_below(folder: Path) -> Iterator[str]:
    """The command lines of processes that were started in a folder."""
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and str(folder).encode() in (entry / "cmdline").read_bytes():
                yield (entry / "cmdline").read_text()
        except OSError:
            continue


@pytest.fixture(scope="module")
def runs(lab: Ran) -> dict[str, Run]:
    return {name: read_run(lab.folder / name) for name in COLUMNS}


def test_every_column_has_its_folder_and_document(lab: Ran, runs: dict[str, Run]) -> None:
    for name, run in runs.items():
        document = json.loads((lab.folder / name / "run.json").read_bytes())
        jsonschema.validate(document, closed(run_schema()))
        assert run.server is not None
        assert run.server.vendor == name
        assert run.server.version and run.server.tls_library
        assert {cell.tls for cell in run.cells} == {"1.2", "1.3"}
    assert runs["nginx"].target.name == "nginx"
    assert runs["nginx-http2"].target.name == "nginx (HTTP/2)"
    assert {path.name for path in lab.folder.iterdir() if path.is_file()} >= {
        *("matrix.md", "matrix.csv", "matrix.json", "truth.json"),
    }


def test_a_server_that_cannot_start_is_unsupported_with_the_reason(lab: Ran) -> None:
    reason = "it ended with status 7: not today"
    assert f"failing is unsupported: {reason}" in lab.err
    assert reason in (lab.folder / "matrix.md").read_text(encoding="utf-8")
    assert not (lab.folder / "failing" / "run.json").exists()


@pytest.mark.kernel_truth
def test_the_kernel_agrees_with_every_cause(lab: Ran, runs: dict[str, Run]) -> None:
    causes = {cause for run in runs.values() for cell in run.cells for cause in cell.causes}
    assert Cause.DATA_AFTER_CLOSE in causes
    for run in runs.values():
        assert run.truth is not None
        assert run.truth.resets >= 4
        assert run.truth.disagreements == run.truth.unmatched == ()
        assert run.truth.agreed + run.truth.agreed_by_alternative == run.truth.resets
    total = json.loads((lab.folder / "truth.json").read_bytes())["total"]
    assert total["resets"] == sum(run.truth.resets for run in runs.values() if run.truth)


def test_nothing_has_changed_since_the_committed_results(lab: Ran, runs: dict[str, Run]) -> None:
    committed = {name for name in COLUMNS if holds_results(COMMITTED / name)}
    assert committed >= {"nginx", "postgres"}
    for name in committed:
        deviations = runs[name].deviations
        assert deviations is not None
        changed = [one for one in deviations if one.certain and one.sequence in CERTAIN]
        assert changed == [], lab.out
        new = {(one.sequence, one.tls) for one in deviations if one.change is Change.NEW}
        cells = {(cell.sequence, cell.tls) for cell in runs[name].cells}
        compared = {sequence for sequence, _ in cells - new if sequence in CERTAIN}
        assert len(compared) >= 2, "hardly anything was compared"
    for name in set(COLUMNS) - committed:  # not silently
        assert name in next(line for line in lab.err.splitlines() if "to compare with" in line)


def test_an_idle_timeout_is_that_of_the_template(runs: dict[str, Run]) -> None:
    for name in ("nginx", "redis"):
        idle, server = runs[name].idle, runs[name].server
        assert idle is not None and idle.timeout_s is not None
        assert server is not None and server.idle_s is not None
        assert idle.timeout_s >= 0.5 * server.idle_s  # less where it was slow to answer


def test_summaries_alone_keep_little_and_compare(lab: Ran) -> None:
    baseline = str(lab.folder)
    ran = run_lab(
        lab.folder.parent,
        *("redis", "--summary-only", "--out", "small", "--expect", baseline, "--json"),
    )
    assert ran.code in {0, 1}, ran.err + ran.out
    deviations = ran.printed.deviations
    assert deviations is not None
    assert not [one for one in deviations if one.certain and one.sequence in CERTAIN], ran.out
    small = lab.folder.parent / "small"
    kept = {path.name for path in (small / "redis").iterdir()}
    assert kept == {"facts.jsonl.gz", "matrix.md", "vendor.md"}
    assert {path.name for path in small.iterdir() if path.is_file()} == {
        *("matrix.md", "matrix.csv", "lab.json"),
    }
    assert replace(ran.printed, deviations=None) == read_results(small / "redis")
    assert tlsprobe("judge", str(small), cwd=lab.folder.parent).code == 0


def test_what_another_server_does_is_a_change(lab: Ran, tmp_path: Path) -> None:
    shutil.copytree(lab.folder / "nginx", tmp_path / "baseline" / "redis")
    ran = run_lab(tmp_path, "redis", "--out", "out", "--expect", "baseline", "--trials", "3")
    assert ran.code == 1, ran.err
    assert "BETTER: fin-only" in ran.out


def test_a_vendor_whose_profile_is_broken_stops_nobody(tmp_path: Path) -> None:
    broken = {
        "also": FAILING + 'also = ["no-such-profile"]\n',
        "behind": FAILING + 'behind = "no-such-vendor"\n',
        "sequences": FAILING + 'sequences = ["no-such-sequence"]\n',
    }
    for name, text in broken.items():
        (tmp_path / name).mkdir()
        named = text.replace('"failing"', f'"{name}"')
        (tmp_path / name / "profile.toml").write_text(named, encoding="utf-8")
    vendors = (f"./{name}" for name in broken)
    asked = ("--sequence", "close-notify-fin", "--tls", "1.3", "--trials", "1", "--out", "out")
    ran = tlsprobe("lab", "run", *vendors, "redis", *asked, cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert read_run(ran.folder / "redis").cells
    listing = json.loads((ran.folder / "matrix.json").read_bytes())["vendors"]
    reasons = {one["vendor"]: one.get("unsupported", "") for one in listing}
    assert "no-such-profile" in reasons["also"]
    assert "no-such-vendor" in reasons["behind"]
    assert "not today" in reasons["sequences"], "what was asked for goes before its own choice"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("redis", "--sequence", "no-such-sequence"), "no-such-sequence"),
        (("redis", "--expect", "damaged"), "run.json"),
        (("redis", "--out", "taken"), "already holds the results of a run"),
        (("redis", "--out", "taken/redis/run.json"), "cannot write results"),
        (("redis", "raw"), "'raw' is no vendor"),
    ],
)
def test_a_wrong_command_line_is_told_before_a_server_is_started(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    for folder in ("damaged", "taken"):
        (tmp_path / folder / "redis").mkdir(parents=True)
        (tmp_path / folder / "redis" / "run.json").write_text("{", encoding="utf-8")
    ran = tlsprobe("lab", "run", *words, cwd=tmp_path)
    assert ran.code == 2, ran.err
    assert said in ran.err
    assert "redis (1/1)" not in ran.err
    assert not (tmp_path / "results").exists()


def test_what_applies_to_nothing_is_unsupported(tmp_path: Path) -> None:
    (tmp_path / "profile.toml").write_text(FAILING, encoding="utf-8")
    ran = tlsprobe("lab", "run", "./", "--sequence", "terminate", "--out", "out", cwd=tmp_path)
    assert ran.code == 3
    assert "failing is unsupported: none of the requested sequences applies" in ran.err
    assert "failing (1/1)" not in ran.err


@pytest.mark.root
def test_without_the_privilege_to_capture_nothing_is_started(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    without = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--reuid=nobody")
    command = [*without, sys.executable, "-m", "tlsprobe", "lab", "run", "nginx"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 3, ran.stderr
    assert "error: a capture is required but not available" in ran.stderr
    assert "hint: " in ran.stderr
    assert "nginx (1/1)" not in ran.stderr


def test_an_interrupt_keeps_what_was_measured_and_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "tlsprobe", "lab", "run", "postgres", "redis"]
    with nothing_left() as scratch:
        with child(
            [*command, "--out", "out", "--trials", "2"],
            cwd=tmp_path,
            env={**os.environ, "TMPDIR": str(scratch)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as running:
            assert running.stderr is not None
            said = next(line for line in running.stderr if " cells, " in line)
            assert said.startswith("PostgreSQL: ")
            assert list(processes_below(scratch))
            running.send_signal(signal.SIGINT)
            rest = running.stderr.read()
        assert running.returncode == 130, rest
    assert read_run(tmp_path / "out" / "postgres").interrupted
    assert not (tmp_path / "out" / "redis").exists()


def test_an_interrupted_lab_goes_on_without_the_vendors_that_it_holds(tmp_path: Path) -> None:
    command = ("redis", "nginx", "--sequence", "close-notify-fin", "--sequence", "idle-expiry")
    asked = ("lab", "run", *command, "--trials", "2", "--out", "out")
    with child(
        [sys.executable, "-W", "error", "-m", "tlsprobe", *asked],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stderr is not None
        # nginx is idle for seconds: it cannot be done before it is interrupted.
        assert next(line for line in running.stderr if line.startswith("nginx: "))
        running.send_signal(signal.SIGINT)
        rest = running.stderr.read()
    assert running.returncode == 130, rest
    assert "continue with: tlsprobe lab run --resume out" in rest
    before = {path: path.read_bytes() for path in (tmp_path / "out" / "redis").iterdir()}
    assert read_run(tmp_path / "out" / "nginx").interrupted

    ran = tlsprobe("lab", "run", "--resume", "out", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert "nginx (1/1)" in ran.err
    for name in COLUMNS[:2]:
        run = read_run(tmp_path / "out" / name)
        assert not run.interrupted
        assert {cell.sequence for cell in run.cells} >= set(command[3::2])
    written = {path for path in before if path.name != "vendor.md"}
    assert all(path.read_bytes() == before[path] for path in written), "redis was measured again"
    typed = json.loads((tmp_path / "out" / "lab.json").read_bytes())["command"]
    assert typed == f"tlsprobe {' '.join(asked)}"

    again = tlsprobe("lab", "run", "--resume", "out", cwd=tmp_path)
    assert again.code == 2
    assert "came to its end" in again.err


def test_the_list_has_every_vendor(tmp_path: Path) -> None:
    """As where the lab has installed nothing yet: it may keep hundreds of servers to be asked."""
    nothing = {"XDG_CACHE_HOME": str(tmp_path)}
    ran = tlsprobe("lab", "list", "--json", cwd=tmp_path, env=nothing)
    assert ran.code == 0, ran.err
    listed = {one["vendor"]: one for one in json.loads(ran.out)}
    vendors = {name for name in list_profiles() if load_profile(name).lab is not None}
    assert {name for name in listed if "@" not in name} == vendors
    assert {name.partition("@")[0] for name in listed} == vendors
    assert "haproxy@2.6" in listed
    assert all(one["words"] or one["presence"] == "here" for one in listed.values())
    for name in ("nginx", "postgres", "redis"):
        assert listed[name]["presence"] == "here" and listed[name]["version"]
