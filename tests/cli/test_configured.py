"""Commands with a ``tlsprobe.toml``: what the file says, and what beats it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.in_process import tlsprobe
from tests.e2e.probing import Ran
from tests.e2e.probing import tlsprobe as in_its_own_process
from tests.e2e.test_campaign import reference
from tlsprobe.model.waiver import WaiverState
from tlsprobe.report.document import read_run
from tlsprobe.report.fuzz_document import read_fuzz

FILE = """
profile = "reference"
sequence = "fin-only"
tls = "1.3"
trials = 1
capture = "none"
quiet = true

[[target]]
address = "127.0.0.1:{polite}"

[[target]]
name = "legacy"
address = "127.0.0.1:{silent}"
trials = 2
"""

WAIVER = """
[[waiver]]
behaviour = "no-close-notify"
target = "legacy"
reason = "replaced in spring"
until = {day}
"""


@pytest.fixture(scope="module")
def ports() -> Iterator[dict[str, int]]:
    with reference("polite", "silent") as found:
        yield found


def run(folder: Path, text: str, *words: str) -> Ran:
    (folder / "tlsprobe.toml").write_text(text, encoding="utf-8")
    return tlsprobe("run", "--out", "out", *words, cwd=folder)


@pytest.mark.slow
def test_targets_and_options_come_from_the_file(ports: dict[str, int], tmp_path: Path) -> None:
    ran = run(tmp_path, FILE.format(**ports), "--github")
    assert ran.code == 1, ran.err
    trials = {read_run(place).target.name: read_run(place).cells for place in ran.folder.iterdir()}
    assert {
        name: [(c.sequence, c.tls, c.trials) for c in cells] for name, cells in trials.items()
    } == {
        f"127.0.0.1:{ports['polite']}": [("fin-only", "1.3", 1)],
        "legacy": [("fin-only", "1.3", 2)],
    }
    assert "::error file=tlsprobe.toml,line=12,title=legacy%3A ends without" in ran.err


@pytest.mark.slow
def test_the_command_line_beats_the_file(ports: dict[str, int], tmp_path: Path) -> None:
    ran = run(tmp_path, FILE.format(**ports), "--target", "legacy", "--trials", "3", "--tls", "1.2")
    assert [(c.tls, c.trials) for c in ran.run.cells] == [("1.2", 3)]
    assert ran.run.target.name == "legacy"


@pytest.mark.slow
def test_a_run_is_resumed_with_its_file(ports: dict[str, int], tmp_path: Path) -> None:
    text = FILE.format(**ports)
    assert run(tmp_path, text, "--target", "legacy").code == 1
    ran = tlsprobe("run", "--resume", "out", "--trials", "4", cwd=tmp_path)
    assert ran.code == 1, ran.err
    assert [(c.tls, c.trials) for c in ran.run.cells] == [("1.3", 4)]
    assert "--config tlsprobe.toml" in " ".join(ran.run.command)


HOLDS = (0, "waived (tlsprobe.toml:17): 1 finding of", WaiverState.USED)
IS_OVER = (1, "expired on 2026-01-31", WaiverState.EXPIRED)


@pytest.mark.slow
@pytest.mark.parametrize(("day", "expected"), [("9999-12-31", HOLDS), ("2026-01-31", IS_OVER)])
def test_a_waiver_holds_for_its_time(
    ports: dict[str, int], tmp_path: Path, day: str, expected: tuple[int, str, WaiverState]
) -> None:
    code, said, state = expected
    ran = run(tmp_path, FILE.format(**ports) + WAIVER.format(day=day), "--target", "legacy")
    assert ran.code == code
    assert said in " ".join((ran.out + ran.err).split())
    assert ran.run.waivers[0].state is state


@pytest.mark.slow
def test_a_file_elsewhere_is_named_and_its_paths_are_its_own(
    ports: dict[str, int], tmp_path: Path
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "tlsprobe.toml").write_text(FILE.format(**ports) + 'ca = "no-ca.pem"\n')
    ran = tlsprobe("run", "--config", "project/tlsprobe.toml", "--out", "out", cwd=tmp_path)
    assert ran.code == 2
    assert "project/no-ca.pem" in ran.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            'trails = 3\n[[target]]\naddress = "a:1"',
            "tlsprobe.toml:1: trails: unknown key; did you",
        ),
        ('trials = "3"', "tlsprobe.toml:1: trials: write a whole number, without quotes"),
        ("trials = 0", "tlsprobe.toml:1: trials: write a whole number of at least 1"),
        ("concurrency = 600", "concurrency: write a whole number of at least 1 and at most 512"),
        ("rate = true", "rate: write a number, without quotes"),
        ("rate = nan", "rate: write a number of at least 0.01"),
        ("patience = inf", "patience: write a number of at least 0.1"),
        ("tls = 1.1", 'tls: write "1.2" or "1.3"'),
        ('fail-on = "always"', "fail-on: 'always' is not one of fail, warn, never"),
        ('resume = "x"', "resume: unknown key"),
        (
            '[[target]]\naddress = "a:1"\njson = true',
            "tlsprobe.toml:3: target[1].json: unknown key",
        ),
        ("quiet = true", "no target given"),
        ("[fuzz]\ntims = 3", "tlsprobe.toml:2: fuzz.tims: unknown key; did you mean time?"),
        ("[lab]\njobs = 0", "tlsprobe.toml:2: lab.jobs: write a whole number of at least 1"),
    ],
)
def test_what_is_wrong_in_it_is_said(text: str, said: str, tmp_path: Path) -> None:
    ran = run(tmp_path, text)
    assert ran.code == 2
    assert said in ran.err
    assert not ran.folder.exists()


FOR_FUZZ = """
profile = "reference"
tls = "1.3"
capture = "none"
expect = "a folder of run's"

[fuzz]
property = "notify-before-fin"
examples = 40
seed = 1
out = "out"

[[target]]
name = "legacy"
address = "127.0.0.1:{silent}"
"""

FUZZ_WAIVER = """
[[waiver]]
behaviour = "no-close-notify"
target = "legacy"
reason = "replaced in spring"
"""


@pytest.mark.slow
@pytest.mark.parametrize(("more", "code"), [("", 1), (FUZZ_WAIVER, 0)])
def test_fuzz_takes_its_target_its_table_and_waivers(
    ports: dict[str, int], tmp_path: Path, more: str, code: int
) -> None:
    (tmp_path / "tlsprobe.toml").write_text(FOR_FUZZ.format(**ports) + more, encoding="utf-8")
    ran = in_its_own_process("fuzz", cwd=tmp_path)
    assert ran.code == code, ran.err
    found, _ = read_fuzz(ran.folder)
    assert (found.target.name, found.seed) == ("legacy", 1)
    assert found.properties == ("notify-before-fin",)
    assert {one.tls for one in found.failures} == {"1.3"}
    assert {one.waived for one in found.failures} == {"replaced in spring" if more else ""}


@pytest.mark.slow
def test_a_failure_is_replayed_with_the_options_of_its_target(
    ports: dict[str, int], tmp_path: Path
) -> None:
    (tmp_path / "tlsprobe.toml").write_text(FOR_FUZZ.format(**ports), encoding="utf-8")
    ran = in_its_own_process("fuzz", cwd=tmp_path)
    ran = in_its_own_process("run", "--sequence", "out/fuzz-1.toml", "--out", "again", cwd=tmp_path)
    assert ran.code == 1, ran.err
    assert read_fuzz(tmp_path / "again")[0].capture.backend == "none"


@pytest.mark.slow
def test_fuzz_asks_which_of_several_targets(ports: dict[str, int], tmp_path: Path) -> None:
    (tmp_path / "tlsprobe.toml").write_text(FILE.format(**ports), encoding="utf-8")
    ran = tlsprobe("fuzz", cwd=tmp_path)
    assert ran.code == 2
    assert f"name one with --target: 127.0.0.1:{ports['polite']}, legacy" in ran.err
