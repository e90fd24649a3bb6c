"""Types are learnt by one thread at a time."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

import tlsprobe
from tlsprobe.decoding import converted, decoder

AT_ONCE = """
import sys, threading
from dataclasses import make_dataclass
from tlsprobe.decoding import converted, decoder

sys.setswitchinterval(1e-6)  # seconds: threads take turns as often as they can
for _ in range(100):
    inner = make_dataclass("Inner", [(f"field_{at}", "int") for at in range(20)])
    middle = make_dataclass("Middle", [(f"part_{at}", inner) for at in range(3)])
    outer = make_dataclass("Outer", [("first", middle), ("second", inner)])
    one = {f"field_{at}": at for at in range(20)}
    two = {f"part_{at}": one for at in range(3)}
    begins = threading.Barrier(6)

    def learn(kind, value):
        begins.wait()
        converted(value, kind)

    asked = [(outer, {"first": two, "second": one}), (middle, two), (inner, one)] * 2
    threads = [threading.Thread(target=learn, args=each) for each in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print("alive")
"""


@dataclass(frozen=True)
class Point:
    x: int


@pytest.mark.slow
def test_threads_may_decode_into_a_type_that_nobody_has_decoded_into() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", AT_ONCE], check=False, capture_output=True, text=True
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "alive\n", "")


def test_a_type_has_one_decoder() -> None:
    assert decoder(Point) is decoder(Point)
    assert decoder(Point).decode(b'{"x": 1}') == converted({"x": 1}, Point) == Point(1)


def test_what_does_not_fit_is_an_error() -> None:
    with pytest.raises(msgspec.ValidationError, match="x"):
        converted({"x": "one"}, Point)


def test_no_other_module_has_msgspec_learn_a_type() -> None:
    learns = re.compile(
        r"msgspec\.(json\.Decoder\(|convert\()|\bdecode\([^()]*(\([^()]*\))*[^()]*type="
    )
    root = Path(tlsprobe.__file__).parent
    found = [
        file.relative_to(root).as_posix()
        for file in sorted(root.rglob("*.py"))
        if learns.search(file.read_text())
    ]
    assert found == ["decoding.py"]
