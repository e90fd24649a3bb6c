"""What is installed: the wheel, the lock, the manual page, the container, the Kubernetes job."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.man_page import PAGE, man_page
from tests.servers import GENEROUS_S

ROOT = Path(__file__).resolve().parent.parent
BUILT = ("tlsprobe", "profiles", "pyproject.toml", "README.md", "LICENSE", "constraints.txt")
"""What the wheel is made of; the sdist holds more, and is made of as much here."""


def yaml_of(text: str) -> Any:
    """The documents of a YAML file. (The library has no types where it is not installed.)"""
    return import_module("yaml").safe_load(text)


# --- the wheel ------------------------------------------------------------------------------------


def built(source: Path, into: Path) -> dict[str, bytes]:
    """The wheel and the sdist of a copy of the project, by name."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-t", "sdist", "-d", into],
        cwd=source,
        env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"},
        capture_output=True,
        timeout=GENEROUS_S,
        check=True,
    )
    return {file.name: file.read_bytes() for file in into.iterdir()}


def copied(to: Path) -> Path:
    to.mkdir()
    for name in BUILT:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, to / name, ignore=ignored, copy_function=shutil.copyfile)
        else:
            shutil.copyfile(ROOT / name, to / name)
    return to


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built twice from different places at different times, and the same."""
    folder = tmp_path_factory.mktemp("packaging")
    first = built(copied(folder / "first"), folder / "dist")
    second = built(copied(folder / "second"), folder / "again")
    assert sorted(first) == sorted(second)
    assert [name for name in first if first[name] != second[name]] == []
    assert len(first) == 2
    (found,) = (folder / "dist").glob("*.whl")
    return found


@pytest.mark.slow
def test_the_wheel_holds_the_whole_package(wheel: Path) -> None:
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    package = (path for path in (ROOT / "tlsprobe").rglob("*") if path.is_file())
    profiles = (path for path in (ROOT / "profiles").rglob("*") if path.is_file())
    expected = {str(path.relative_to(ROOT)) for path in package if "__pycache__" not in path.parts}
    expected |= {
        f"tlsprobe/_profiles/{path.relative_to(ROOT / 'profiles')}"
        for path in profiles
        if "__pycache__" not in path.parts
    }
    assert inside == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("profiles", "postgres"), "Terminate as the goodbye"),
        (("sequences", "terminate"), "terminate"),
        (("report", "run"), "run/report.html"),
    ],
)
def test_what_is_installed_works_from_any_folder(
    wheel: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    installed = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(installed)
    shutil.copytree(ROOT / "tests/data/judged/rude", tmp_path / "run")
    code = (
        f"import sys; sys.path.insert(0, {str(installed)!r}); from tlsprobe.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        timeout=GENEROUS_S,
        check=True,
    )
    assert said in done.stdout


# --- the lock -------------------------------------------------------------------------------------


def pins(text: str) -> dict[str, str]:
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", text, re.MULTILINE)
    return {name.lower().replace("_", "-").replace(".", "-"): version for name, version in found}


def named(requirements: list[str]) -> set[str]:
    """The packages of some requirements, as pins have them."""
    return {re.split(r"[>=;\s]", one)[0].lower().replace(".", "-") for one in requirements}


@pytest.mark.parametrize("name", ["constraints.txt", "requirements.lock"])
def test_every_version_has_its_hashes(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for entry in re.split(r"\n(?=[^\s#])", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).strip()):
        assert "--hash=sha256:" in entry, f"{entry}: .ci/lock writes its hashes"


def test_the_lock_has_the_versions_that_are_tested() -> None:
    lock, all_of_it = (
        pins((ROOT / name).read_text(encoding="utf-8"))
        for name in ("requirements.lock", "constraints.txt")
    )
    assert {name: one for name, one in lock.items() if all_of_it.get(name) != one} == {}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert named(project["dependencies"]) <= set(lock)
    extras = project["optional-dependencies"]
    assert named([*extras["dev"], *extras["docs"]]) <= set(all_of_it)


# --- the manual page ------------------------------------------------------------------------------


def test_the_manual_page_says_what_help_says() -> None:
    said = PAGE.read_text(encoding="utf-8")
    assert said == man_page(), "python -m tests.man_page writes it anew"
    assert max(map(len, said.splitlines())) <= 80  # what `mandoc -Tlint` asks for


# --- the container --------------------------------------------------------------------------------


def instructions(text: str) -> list[tuple[str, str]]:
    lines = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)).splitlines()
    return [
        (word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines) if word
    ]


def test_the_container_runs_as_nobody_special_and_only_its_sniffer_may_capture() -> None:
    found = instructions((ROOT / "Containerfile").read_text(encoding="utf-8"))
    words = [word for word, _ in found]
    known = {"ARG", "FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "ENTRYPOINT", "CMD"}
    assert set(words) <= known
    (user,) = (rest for word, rest in found if word == "USER")
    assert int(user) >= 1000
    assert words.index("USER") > max(n for n, word in enumerate(words) if word == "RUN")
    granted = re.findall(r"setcap (\S+) (\S+)", str(found))
    assert granted == [("cap_net_raw=ep", '"$(command')]
    assert "--privileged" not in str(found)
    (started,) = (rest for word, rest in found if word == "ENTRYPOINT")
    assert "setpriv" in started
    assert '"--ambient-caps", "-all"' in started
    for word, rest in found:
        if word == "COPY" and "--from" not in rest:
            *sources, _ = rest.split()
            assert [name for name in sources if not (ROOT / name).exists()] == []
    (base,) = (rest for word, rest in found if word == "ARG")
    assert "-slim" in base
    assert all("${BASE}" in rest for word, rest in found if word == "FROM")


def test_the_kubernetes_job_has_one_capability() -> None:
    job = yaml_of((ROOT / "docs/deploy/kubernetes.yaml").read_text(encoding="utf-8"))
    assert (job["apiVersion"], job["kind"], job["spec"]["backoffLimit"]) == ("batch/v1", "Job", 0)
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    security = container["securityContext"]
    assert security["capabilities"] == {"drop": ["ALL"], "add": ["NET_RAW"]}
    assert security["runAsNonRoot"] is True
    assert not security.get("privileged")
    assert pod["restartPolicy"] == "Never"
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}
