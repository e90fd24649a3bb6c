"""Clients that the lab watches: the words that start them, and why one cannot be watched."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlsprobe.lab.availability import STAMP, fingerprint, lab_of
from tlsprobe.lab.clients import SCENARIOS, Scenario, missing
from tlsprobe.model.profile import Profile

DRIVEN = [scenario for scenario in SCENARIOS if scenario.driver]


def profile_of(scenario: Scenario) -> Profile:
    found = scenario.profile
    assert found is not None
    return found


def test_no_two_scenarios_share_a_folder() -> None:
    names = [scenario.name for scenario in SCENARIOS]
    assert len(names) == len({*names})


@pytest.mark.parametrize("scenario", DRIVEN, ids=lambda scenario: scenario.name)
def test_a_driver_comes_from_beside_its_server(scenario: Scenario) -> None:
    driver = profile_of(scenario)
    assert driver.name == scenario.driver
    assert {"@host@", "@port@"} <= {*lab_of(driver).start}
    assert scenario.command[0] == "0" or float(scenario.command[0]) > 2, "the server's idle timeout"


def test_each_driver_is_watched_as_it_comes_and_at_its_close() -> None:
    for name in {scenario.driver for scenario in DRIVEN}:
        mine = {scenario.name for scenario in DRIVEN if scenario.driver == name}
        assert {f"{name}-done", f"{name}-default"} <= mine


def test_a_driver_that_is_not_installed_says_how_to_get_it(tmp_path: Path) -> None:
    pooled = next(s for s in DRIVEN if s.driver == "psycopg-pool")
    said = missing(pooled, tmp_path)
    assert said is not None
    assert said.startswith("psycopg_pool: pip install psycopg")
    driver, own = profile_of(pooled), tmp_path / "psycopg-pool"
    (own / "venv" / "bin").mkdir(parents=True)
    (own / "venv" / "bin" / "python").symlink_to("/bin/sh")
    (own / STAMP).write_text(fingerprint(driver), encoding="ascii")
    assert missing(pooled, tmp_path) is None


def test_a_client_that_is_not_here_names_its_package(tmp_path: Path) -> None:
    lacking = Scenario("x", "nginx", "x", ("no-such-client",), package="its-package")
    assert (
        missing(lacking, tmp_path) == "there is no 'no-such-client' (apt-get install its-package)"
    )
