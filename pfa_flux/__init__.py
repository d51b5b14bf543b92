"""pfa-flux: the share of page views that the JavaScript analytics did not report.

Names are imported when they are first used, so that the command line starts quickly.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # `public.py` is the one list. Type checkers and editors read it here, and `__getattr__` when the program runs. A
    # stub file, or a table of names and modules, would be a second list.
    from pfa_flux.public import *  # noqa: F403

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Before Python imports a submodule, it asks for it here.
    if find_spec(f"{__name__}.{name}") is None:
        public = vars(import_module("pfa_flux.public"))
        if name == "__all__":
            return sorted({"__version__", *(each for each in public if not each.startswith("_"))})
        if name == "Caveat":
            import warnings

            warnings.warn("pfa_flux.Caveat is now AnswerWarning", DeprecationWarning, stacklevel=2)
            return public["AnswerWarning"]
        if name in public and not name.startswith("_"):
            return globals().setdefault(name, public[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__getattr__("__all__"))
