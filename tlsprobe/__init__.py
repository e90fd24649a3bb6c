"""tlsprobe: how does this server end a TLS connection, and whom does it hurt?

For programs: `probe` and `probe_sync` drive closes against a server, `judge` judges recorded facts
with the rules of today, `explain` diagnoses a capture, `load_profile` loads what is known about a
kind of server. What they take and give are values, documented where they are defined. All names
here are imported when they are used, so that ``import tlsprobe`` costs nothing.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tlsprobe.version import VERSION

if TYPE_CHECKING:
    from tlsprobe.errors import CannotMeasure, TlsprobeError, UsageError
    from tlsprobe.explain.wanted import Filter
    from tlsprobe.library import (
        complaint,
        explain,
        failing,
        judge,
        probe,
        probe_sync,
        reference_server,
        with_waivers,
    )
    from tlsprobe.model.behaviour import Behaviour, Harm
    from tlsprobe.model.explanation import Explanation
    from tlsprobe.model.judgement import Verdict
    from tlsprobe.model.profile import Profile
    from tlsprobe.model.run import Cell, Finding, Run
    from tlsprobe.model.target import Login, Target, TlsIdentity
    from tlsprobe.profiles import load_profile

__version__ = VERSION

__all__ = [
    "Behaviour",
    "CannotMeasure",
    "Cell",
    "Explanation",
    "Filter",
    "Finding",
    "Harm",
    "Login",
    "Profile",
    "Run",
    "Target",
    "TlsIdentity",
    "TlsprobeError",
    "UsageError",
    "Verdict",
    "complaint",
    "explain",
    "failing",
    "judge",
    "load_profile",
    "probe",
    "probe_sync",
    "reference_server",
    "with_waivers",
]

_HOMES = {
    "errors": ("CannotMeasure", "TlsprobeError", "UsageError"),
    "explain.wanted": ("Filter",),
    "library": (
        *("complaint", "explain", "failing", "judge", "probe", "probe_sync"),
        *("reference_server", "with_waivers"),
    ),
    "model.behaviour": ("Behaviour", "Harm"),
    "model.explanation": ("Explanation",),
    "model.judgement": ("Verdict",),
    "model.profile": ("Profile",),
    "model.run": ("Cell", "Finding", "Run"),
    "model.target": ("Login", "Target", "TlsIdentity"),
    "profiles": ("load_profile",),
}
"""The module of each name."""


def __getattr__(name: str) -> Any:
    """A name of the library, imported now."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"tlsprobe.{module}"), name)
    raise AttributeError(f"module 'tlsprobe' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted((*globals(), *__all__))


class _Package(ModuleType):
    """The package, in which ``judge`` and ``explain`` stay the functions.

    There are rooms of these names too, and importing one would put the module in their place.
    Imports find modules without the package's help.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in __all__ and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
