"""What can go wrong, as one tree. Every error says what happened and carries a hint that says what to do.

PfaFluxError
├── InvalidValueError          a malformed or contradictory value, also a ValueError
│   └── SettingsError          ... in the settings: names the file or variable, the key, what is allowed
├── UnreachableError           no usable answer from the server
│   ├── TimedOutError          ... within the time allowed
│   ├── TLSError               ... because its certificate or protocol is refused
│   ├── PartialAnswerError     ... because it says itself that rows are missing from it
│   └── NotInfluxDBError       ... that InfluxDB would give
│       └── UnfitServerError   ... but one by which it is known what is there instead
├── UntrustedFileError         a settings file lies where another user may have laid it
├── AccessDeniedError          the server refuses the token, or the token has not the right
├── BucketNotFoundError        a bucket (or database and retention policy) does not exist
├── CapabilityError            the engine cannot do what is asked, by its kind, version or configuration
├── QueryError                 the server refused or broke off a query or a write
├── BusyError                  the server is too busy just now, and says so (429, 503)
├── TaskError                  a task could not be installed, run or proved
└── StoreError                 the embedded store cannot be opened, locked, read or written
"""

from __future__ import annotations


class PfaFluxError(Exception):
    """Base of all errors raised on purpose.

    Attributes:
        message: what happened, one sentence.
        hint: what to do about it, may be empty.
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
    """A settings file was found, and not named, that another user may have laid there."""


class UnreachableError(PfaFluxError):
    """The server gave no usable answer."""


class TimedOutError(UnreachableError):
    """The server gave no answer in the time allowed."""


class TLSError(UnreachableError):
    """The connection was refused for its certificate or TLS protocol."""


class PartialAnswerError(UnreachableError):
    """The server says that rows are missing from its answer, so that nothing can be proved by it."""


class NotInfluxDBError(UnreachableError):
    """Something answers, and it is not an InfluxDB this library can use."""


class UnfitServerError(NotInfluxDBError):
    """What answers is known, and can not do what pfa-flux needs: no hit may be sent to it."""


class AccessDeniedError(PfaFluxError):
    """The token is unknown to the server or lacks a right."""


class BucketNotFoundError(PfaFluxError):
    """A bucket, or on 1.x a database or retention policy, does not exist."""


class CapabilityError(PfaFluxError):
    """The engine cannot do what is asked."""


class QueryError(PfaFluxError):
    """The server refused a query or a write, or broke off in the middle.

    Attributes:
        status: HTTP status of its answer, 0 where it has none of its own.
        said: all that it said, as far as it is known; may hold what visitors sent, and is not part of the message.
    """

    def __init__(self, message: str, hint: str = "", status: int = 0, said: str = "") -> None:
        super().__init__(message, hint)
        self.status = status
        self.said = said or message


class BusyError(PfaFluxError):
    """The server is too busy just now.

    Attributes:
        retry_after: seconds that it asks to wait, 0 where it does not say.
        status: HTTP status of its answer.
    """

    def __init__(self, message: str, hint: str = "", retry_after: float = 0.0, status: int = 0) -> None:
        super().__init__(message, hint)
        self.retry_after = retry_after
        self.status = status


class TaskError(PfaFluxError):
    """A task could not be installed, run or proved."""


class StoreUnfitError(PfaFluxError):
    """A server confirms points and keeps something else, so that no figure from it could be right."""


class StoreError(PfaFluxError):
    """The embedded store cannot be opened, locked, read or written."""
