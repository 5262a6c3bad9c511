"""Errors: one family, one line each, the same on both sides of a process."""

from __future__ import annotations

import pickle

import pytest

from msc_pipeline import errors
from msc_pipeline.errors import ConfigError, PermanentError, PipelineError, TransientError, UsageError

FAMILY = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, Exception)
]  # fmt: skip


def test_an_error_shows_its_code_what_happened_and_what_to_do() -> None:
    assert str(PipelineError("DISK", "cannot write", hint="free space")) == "DISK: cannot write (free space)"
    assert str(PipelineError("DISK", "cannot write")) == "DISK: cannot write"


@pytest.mark.parametrize("kind", FAMILY)
def test_an_error_is_the_same_in_another_process(kind: type[PipelineError]) -> None:
    there = pickle.loads(pickle.dumps(kind("CODE", "what", hint="next")))
    assert type(there) is kind
    assert (there.code, there.message, there.hint, str(there)) == (
        "CODE",
        "what",
        "next",
        "CODE: what (next)",
    )


@pytest.mark.parametrize("kind", FAMILY)
def test_every_error_either_passes_by_itself_or_needs_a_person(kind: type[PipelineError]) -> None:
    if kind is not PipelineError:
        assert issubclass(kind, TransientError) != issubclass(kind, PermanentError)


@pytest.mark.parametrize("kind", FAMILY)
def test_only_what_the_caller_got_wrong_exits_with_2(kind: type[PipelineError]) -> None:
    assert kind.exit_code == (2 if kind in (ConfigError, UsageError) else 1)
