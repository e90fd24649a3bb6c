"""Real servers over paths of the lab: what both sides of a router prove, and nothing left."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests import servers
from tests.e2e.probing import Ran, tlsprobe
from tests.servers import GENEROUS_S
from tlsprobe.campaign.judging import judged_run
from tlsprobe.campaign.lab_paths import page_again
from tlsprobe.campaign.reading import read_results
from tlsprobe.captures.pcap import Reader
from tlsprobe.facts.file import FACTS_FILE, RecordedFacts
from tlsprobe.lab import namespaces
from tlsprobe.lab.availability import Presence, availability
from tlsprobe.lab.paths import CLIENT_SIDE, PATHS, SERVER_SIDE, LabPath, missing
from tlsprobe.lab.paths_sides import rewrites
from tlsprobe.lab.workspace import tools_folder
from tlsprobe.model.far_side import FarFact
from tlsprobe.model.run import Run
from tlsprobe.packets.decode import packets_in
from tlsprobe.packets.frames import ETHERNET, Frame
from tlsprobe.packets.packet import Endpoint, Packet
from tlsprobe.profiles import load_profile
from tlsprobe.report.render_markdown import render_markdown
from tlsprobe.sniff.route import packed

pytestmark = [pytest.mark.root, pytest.mark.server("nginx", "nft", "conntrack")]

IDLED = "request; sleep 4.5s; send; drain 1s"
BOXES = ("nat-lost-conntrack", "resets-idle")


@pytest.fixture(autouse=True, scope="module")
def _needs_namespaces() -> None:
    reason = namespaces.available()
    if reason is not None:
        servers.cannot(reason)


def lab_paths(*words: str, cwd: Path) -> Ran:
    return tlsprobe("lab", "paths", *words, "--tls", "1.3", "--out", str(cwd / "out"), cwd=cwd)


@pytest.fixture(scope="module")
def idled(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """nginx behind two routers, each connection silent for longer than two seconds."""
    asked = ("--vendor", "nginx", "--trials", "2", "--sequence", IDLED)
    return lab_paths(*BOXES, *asked, cwd=tmp_path_factory.mktemp("paths"))


def run_of(ran: Ran, path: str) -> Run:
    return read_results(ran.folder / f"nginx-{path}")


def captured(file: Path) -> list[Packet]:
    found = Reader(file.name).feed(file.read_bytes())
    frames = [Frame(number, one.time_ns, one.data) for number, one in enumerate(found, 1)]
    return list(packets_in(frames, ETHERNET))


def server_of(run: Run) -> Endpoint:
    return packed(run.target.host), run.target.port


def test_a_lost_entry_shows_as_a_rewritten_port(idled: Ran) -> None:
    assert idled.code == 0, idled.err
    run = run_of(idled, "nat-lost-conntrack")
    (cell,) = run.cells
    assert cell.causes == {"no-connection-state": 2}
    (why,) = cell.why
    assert why.confidence == "high"
    assert "which never made a handshake" in why.evidence[0]
    folder = idled.folder / "nginx-nat-lost-conntrack"
    far = captured(folder / SERVER_SIDE)
    renamed = [one for one in rewrites(far, server_of(run)) if one.reset is not None]
    assert len(renamed) >= 2
    for one in renamed:  # both ports, in the report
        assert one.before[1] != one.after[1]
    assert any(str(renamed[0].after[1]) in note for note in run.notes)
    assert str(renamed[0].before[1]) in idled.out
    assert rewrites(captured(folder / CLIENT_SIDE), server_of(run)) == ()


def test_a_reset_that_the_router_makes_is_told_from_the_servers(idled: Ran) -> None:
    (cell,) = run_of(idled, "resets-idle").cells
    assert cell.causes == {"middlebox": 2}
    assert cell.reader.reset == 2
    assert "the server never sent it" in cell.why[0].evidence[0]
    broken = {f.rule for f in cell.findings if f.result in {"fail", "warn"}}
    assert {rule for rule in broken if not rule.startswith("INTEROP-")} == set()


@pytest.mark.parametrize("path", BOXES)
def test_a_server_is_not_failed_for_what_was_done_on_the_way(idled: Ran, path: str) -> None:
    (cell,) = run_of(idled, path).cells
    assert cell.verdict != "fail"
    assert "TLS13-NOTIFY" not in {finding.rule for finding in cell.findings}


@pytest.mark.parametrize("path", BOXES)
def test_what_both_sides_saw_is_judged_again_to_the_same(idled: Ran, path: str) -> None:
    folder = idled.folder / f"nginx-{path}"
    facts = list(RecordedFacts(folder / FACTS_FILE).read())
    assert any(isinstance(fact, FarFact) for fact in facts)
    assert judged_run(lambda: facts).cells == run_of(idled, path).cells


def test_a_server_at_a_distance(tmp_path: Path) -> None:
    # --summary-only by its old name, which works for one more release
    asked = ("--vendor", "nginx", "--trials", "1", "--sequence", "close-notify-fin", "--lean")
    ran = lab_paths("rtt-20ms", *asked, cwd=tmp_path)
    assert ran.code == 0, ran.err
    run = run_of(ran, "rtt-20ms")
    assert run.target.name == "nginx, 20 ms away"
    assert run.server is not None
    assert run.server.version
    # Behind a bare FIN a close more is driven: nginx ends so, or a proxy before it.
    cell, _ = run.cells
    assert cell.outcomes == {"no-close-notify": 1}
    took = cell.timing_us["close_notify_to_fin"]
    assert took.min is not None
    assert took.min >= 20_000  # there and back, in microseconds
    assert sorted(path.name for path in (ran.folder / "nginx-rtt-20ms").iterdir()) == [
        "facts.jsonl.gz",
        "matrix.md",
    ]
    page = render_markdown(page_again(ran.folder))
    assert page == (ran.folder / "paths.md").read_text(encoding="utf-8")
    assert tlsprobe("judge", "out", cwd=tmp_path).code == 0

    # Another path into the same folder: the page has both.
    more = lab_paths("direct", *asked, cwd=tmp_path)
    assert more.code == 0, more.err
    page = (ran.folder / "paths.md").read_text(encoding="utf-8")
    assert "20 ms away" in page and "nginx-direct" in {path.name for path in ran.folder.iterdir()}
    whole = lab_paths("rtt-1ms", "direct", *asked[:-1], cwd=tmp_path)
    assert whole.code == 2
    assert "nginx-direct already holds the results of a run" in whole.err
    assert not (ran.folder / "nginx-rtt-1ms").exists()


def test_nothing_is_left_behind(idled: Ran) -> None:
    assert idled.code == 0
    deadline = time.monotonic() + GENEROUS_S
    while left := namespaces.left_over():  # a test beside this one may leave some for a moment
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    words = ("lab", "paths", "nat-lost-conntrack", "--vendor", "nginx", "--out", "out")
    command = [sys.executable, "-m", "tlsprobe", *words]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    mine = f"{namespaces.PREFIX}{process.pid}-"
    deadline = time.monotonic() + GENEROUS_S
    while len(inhabited(mine)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)  # the server runs in one of them, the probe in another
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=GENEROUS_S)
    assert process.returncode == 130, said.decode()
    assert list(named(mine)) == []
    assert not (tmp_path / "out").exists()


def named(prefix: str) -> Iterator[str]:
    return (path.name for path in Path("/run/netns").glob(f"{prefix}*"))


def inhabited(prefix: str) -> list[str]:
    return [name for name in named(prefix) if namespaces.run("ip", "netns", "pids", name).strip()]


def test_a_path_that_cannot_be_had_says_why() -> None:
    path = LabPath("x", "x", "x", (), {"no-such-command": "no-such-package"})
    assert missing(path) == "there is no 'no-such-command' (apt-get install no-such-package)"
    assert missing(PATHS["direct"]) is None


def test_an_unknown_path_is_a_usage_error(tmp_path: Path) -> None:
    ran = lab_paths("by-pigeon", cwd=tmp_path)
    assert ran.code == 2
    assert "unknown path 'by-pigeon'" in ran.err
    assert "nat-lost-conntrack" in ran.err


@pytest.mark.server("postgres")
@pytest.mark.parametrize(("version", "alive"), [("0.22", True), ("0.24", False), ("newest", False)])
def test_the_alert_behind_the_goodbye_takes_new_tunnels_down(
    version: str, alive: bool, tmp_path: Path
) -> None:
    """The case that tlsprobe grew out of, with kubectl port-forward's own code."""
    profile = load_profile(f"port-forward-{version}")
    found = availability(profile, tools_folder())
    if found.presence is not Presence.HERE:
        pytest.skip(f"not built: tlsprobe lab install {profile.name} ({found.words})")
    asked = ("--trials", "1", "--sequence", "terminate-close-notify", "--sequence", "terminate")
    ran = lab_paths(profile.name, *asked, cwd=tmp_path)
    assert ran.code == 0, ran.err
    measured = replace(ran, folder=ran.folder / profile.name)
    cells = {cell.sequence: cell for cell in measured.run.cells}
    for name, expected in (("terminate-close-notify", alive), ("terminate", True)):
        lives = cells[name].path_alive
        assert lives is expected or (lives is None and measured.slow), name
    assert cells["terminate"].outcomes == {"clean": 1}
