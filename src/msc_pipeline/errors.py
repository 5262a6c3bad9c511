"""The one error family.

Belongs here: every exception the project raises on purpose. Does not: library errors; they quote cell
values, so the module that meets one raises its own error `from None`.

A message names a code, the place (file, delivery, rule, column, row number) and what to do next. It never
holds a cell value or a subject id.
"""

from __future__ import annotations


class PipelineError(Exception):
    """Root of the family: a code a person can search for, what happened, and what to do next."""

    exit_code = 1

    def __init__(self, code: str, message: str, *, hint: str = "") -> None:
        self.code = code
        self.message = message
        self.hint = hint
        super().__init__(f"{code}: {message}" + (f" ({hint})" if hint else ""))

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by parts, so that a worker process hands the same error to its parent."""
        return (_rebuild, (type(self), self.code, self.message, self.hint))


def _rebuild(kind: type[PipelineError], code: str, message: str, hint: str) -> PipelineError:
    return kind(code, message, hint=hint)


class TransientError(PipelineError):
    """May pass later without anybody acting: a task retries."""


class PermanentError(PipelineError):
    """A person must act first: a task fails at once."""


class ConfigError(PermanentError):
    """A study, suite, model or setting is wrong; names file and field."""

    exit_code = 2


class UsageError(PermanentError):
    """The call's words are off."""

    exit_code = 2


class DeliveryRejected(PermanentError):
    """One file cannot be used as it is; the code is the reason a site is told."""


class IntegrityError(PermanentError):
    """A stored byte is not what the ledger says it is. Nothing is published over this."""


class BlindingError(PermanentError):
    """Something that could tell the arm would have left the open side."""


class BusyError(TransientError):
    """Another process holds a lock for longer than we wait."""
