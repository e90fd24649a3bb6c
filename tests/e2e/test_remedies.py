"""``tlsprobe lab remedies`` with a real nginx: a directive that helps, and a client that does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.probing import tlsprobe

pytestmark = [pytest.mark.packet_socket, pytest.mark.server("nginx")]

REMEDIES = """
[[lab.remedies]]
name = "lingering"
says = "lingering_close always;"
against = ["reset-after-fin"]
sequences = ["terminate-close-notify-50ms"]
values = { lingering = "always" }

[[lab.remedies]]
name = "alone"
says = "client: no close_notify behind the goodbye"
against = ["reset-after-fin"]
sequences = ["terminate-close-notify-50ms"]
instead = "terminate"
"""


@pytest.fixture
def vendor(tmp_path: Path) -> Path:
    """An nginx with two remedies of its own."""
    shipped = Path(__file__).parents[2] / "profiles" / "nginx"
    folder = tmp_path / "mine"
    folder.mkdir()
    said = (shipped / "profile.toml").read_text(encoding="utf-8")
    lab = said.partition("[lab.versions]")[0].replace('name = "nginx"', 'name = "mine"')
    (folder / "profile.toml").write_text(lab + REMEDIES, encoding="utf-8")
    (folder / "nginx.conf").write_bytes((shipped / "nginx.conf").read_bytes())
    return folder


def test_each_remedy_is_measured_before_and_after(tmp_path: Path, vendor: Path) -> None:
    words = ("lab", "remedies", "./mine", "--trials", "12", "--tls", "1.3", "--out", "out")
    ran = tlsprobe(*words, cwd=tmp_path)
    assert ran.code == 0, ran.err
    page = (tmp_path / "out" / "remedies.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| nginx")]
    assert len(rows) == 2
    for row in rows:  # a machine that stops us for seconds may leave too few trials in time
        assert row.endswith(("| **helps** |", "| **not decided** |")), row
    kept = sorted(path.name for path in (tmp_path / "out" / "remedies").iterdir())
    assert kept == ["lab.json", "mine", "mine+lingering"]


def test_a_vendor_without_remedies_is_a_mistake(tmp_path: Path) -> None:
    ran = tlsprobe("lab", "remedies", "socat", cwd=tmp_path)
    assert (ran.code, "names no remedies" in ran.err) == (2, True)
