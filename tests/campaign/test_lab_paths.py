"""Which paths are measured, and what the folder of one says of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.report.builders import nginx_run
from tlsprobe.campaign.lab_paths import page_of_runs, paths_chosen
from tlsprobe.lab.paths import PATHS
from tlsprobe.model.run import Run
from tlsprobe.report.render_markdown import render_markdown


def over(family: str, where: str) -> Run:
    run = nginx_run()
    return replace(run, target=replace(run.target, profile="nginx", name=f"nginx{family}, {where}"))


def test_over_ipv6_no_tunnel_is_taken_and_folders_say_so() -> None:
    both = paths_chosen(None, ["nginx"]), paths_chosen(None, ["nginx"], over_ipv6=True)
    four, six = (one.folders for one in both)
    assert six == [f"nginx-{name}-ipv6" for name in PATHS]
    assert set(four) > {f"nginx-{name}" for name in PATHS}


def test_the_same_path_over_ipv6_is_a_column_of_its_own(tmp_path: Path) -> None:
    where = PATHS["direct"].where
    runs = {"nginx-direct": over("", where), "nginx-direct-ipv6": over(" over IPv6", where)}
    text = render_markdown(page_of_runs(tmp_path, runs))
    assert f"| nginx, {where} | nginx over IPv6, {where} |" in text
