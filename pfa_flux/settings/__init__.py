"""The settings: read once, checked as a whole, never changed."""

from pfa_flux.settings.reading import (
    KEYS,
    NO_PROXY,
    Resolution,
    Secret,
    Settings,
    TaskSettings,
    examine,
    load,
    load_target,
    resolve,
)

__all__ = [
    "KEYS",
    "NO_PROXY",
    "Resolution",
    "Secret",
    "Settings",
    "TaskSettings",
    "examine",
    "load",
    "load_target",
    "resolve",
]
