"""All errors of the library, as one tree. Every error says what happened, and has a hint that says what to do.

PfaFluxError
├── InvalidValueError          a malformed or contradictory value; also a ValueError
│   └── SettingsError          ... in the settings: names the file or variable, the key, and what is allowed
├── UnreachableError           the server gave no usable answer
│   ├── TimedOutError          ... within the timeout
│   ├── TLSError               ... because its certificate or TLS protocol was rejected
│   ├── PartialAnswerError     ... because the answer itself says that rows are missing
│   └── NotInfluxDBError       ... because the answer is not from InfluxDB
│       └── UnfitServerError   ... but from a known server that pfa-flux cannot use
├── UntrustedFileError         another user may have put a settings file there
├── AccessDeniedError          the server rejects the token, or the token lacks a right
├── BucketNotFoundError        a bucket (or database and retention policy) does not exist
├── CapabilityError            the engine cannot do this, because of its kind, version or configuration
├── QueryError                 the server refused a query or a write, or broke it off
├── BusyError                  the server says that it is too busy now (429, 503)
├── TaskError                  a task could not be installed, run or proved
├── StoreUnfitError            a server confirms points but stores something else
└── StoreError                 the embedded store cannot be opened, locked, read or written
"""

from __future__ import annotations


class PfaFluxError(Exception):
    """Base class of all errors of the library.

    Attributes:
        message: what happened, in one sentence.
        hint: what to do about it. It may be empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class InvalidValueError(PfaFluxError, ValueError):
    """A malformed or contradictory value."""


class SettingsError(InvalidValueError):
    """A setting is unknown, of the wrong type, or contradicts another."""


class UntrustedFileError(PfaFluxError):
    """A settings file that nobody named was found, and another user may have put it there."""


class UnreachableError(PfaFluxError):
    """The server gave no usable answer."""


class TimedOutError(UnreachableError):
    """The server gave no answer within the timeout."""


class TLSError(UnreachableError):
    """The connection failed because the certificate or the TLS protocol was rejected."""


class PartialAnswerError(UnreachableError):
    """The server says that rows are missing from its answer, so the answer proves nothing."""


class NotInfluxDBError(UnreachableError):
    """The address answers, but not as an InfluxDB that this library can use."""


class UnfitServerError(NotInfluxDBError):
    """The address answers as a known server that lacks what pfa-flux needs. Do not send hits to it."""


class AccessDeniedError(PfaFluxError):
    """The token is unknown to the server or lacks a right."""


class BucketNotFoundError(PfaFluxError):
    """A bucket, or on 1.x a database or retention policy, does not exist."""


class CapabilityError(PfaFluxError):
    """The engine cannot do this, because of its kind, version or configuration."""


class QueryError(PfaFluxError):
    """The server refused a query or a write, or broke it off.

    Attributes:
        status: HTTP status of the answer. 0 if the error has no status.
        said: the server's complete message, if it is known. It may contain what visitors sent, so do not show it.
    """

    def __init__(self, message: str, hint: str = "", status: int = 0, said: str = "") -> None:
        super().__init__(message, hint)
        self.status = status
        self.said = said or message


class BusyError(PfaFluxError):
    """The server says that it is too busy now.

    Attributes:
        retry_after: how many seconds the server asks you to wait. 0 if it does not say.
        status: HTTP status of the answer.
    """

    def __init__(self, message: str, hint: str = "", retry_after: float = 0.0, status: int = 0) -> None:
        super().__init__(message, hint)
        self.retry_after = retry_after
        self.status = status


class TaskError(PfaFluxError):
    """A task could not be installed, run or proved."""


class StoreUnfitError(PfaFluxError):
    """A server confirms points but stores something else, so no figure from it can be right."""


class StoreError(PfaFluxError):
    """The embedded store cannot be opened, locked, read or written."""
