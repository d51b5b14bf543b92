"""Exit codes."""

from __future__ import annotations

from pfa_flux.errors import AccessDeniedError, InvalidValueError, PfaFluxError, UnreachableError

DONE, FAILED, USAGE, NO_DATA, UNREACHABLE, TO_DO = 0, 1, 2, 3, 4, 5


def exit_code(error: PfaFluxError) -> int:
    """Exit code of an error."""
    if isinstance(error, InvalidValueError):
        return USAGE
    return UNREACHABLE if isinstance(error, UnreachableError | AccessDeniedError) else FAILED
