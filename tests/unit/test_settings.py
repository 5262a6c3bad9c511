"""Settings: the environment is read once, an empty variable counts as none, and secrets stay out of sight."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from msc_pipeline.errors import ConfigError
from msc_pipeline.settings import PROJECT, Settings


def test_every_variable_is_read(tmp_path: Path) -> None:
    environ = {
        "MSC_HOME": str(tmp_path / "home"),
        "MSC_LANDING": str(tmp_path / "landing"),
        "MSC_PROJECT": str(tmp_path / "project"),
        "MSC_LEDGER_URL": "postgresql://ledger/msc",
        "MSC_ALERT_URLS": "mailto://a b://c\nd://e \n",
        "MSC_PAGE_URL": "http://page:8080/",
        "MSC_THREADS": "3",
    }
    assert Settings.from_env(environ) == Settings(
        home=tmp_path / "home",
        landing=tmp_path / "landing",
        project=tmp_path / "project",
        ledger_url="postgresql://ledger/msc",
        alert_urls=("mailto://a", "b://c", "d://e"),
        page_url="http://page:8080",
        threads=3,
    )


@pytest.mark.parametrize("value", [None, ""])
def test_a_variable_that_is_missing_or_empty_leaves_the_default(value: str | None) -> None:
    names = ["HOME", "LANDING", "PROJECT", "LEDGER_URL", "ALERT_URLS", "PAGE_URL", "THREADS"]
    environ = {} if value is None else {f"MSC_{name}": value for name in names}
    settings = Settings.from_env(environ)
    assert settings.home == Path.cwd() / ".run" / "home"
    assert settings.landing == Path.cwd() / ".run" / "landing"
    assert settings.project == PROJECT
    assert (settings.ledger_url, settings.alert_urls, settings.page_url) == ("", (), "")
    assert settings.threads == (os.cpu_count() or 2)


def test_options_come_before_the_environment(tmp_path: Path) -> None:
    settings = Settings.from_env(
        {"MSC_HOME": "a", "MSC_LANDING": "b"}, home=tmp_path, landing=tmp_path / "in"
    )
    assert (settings.home, settings.landing) == (tmp_path, tmp_path / "in")


def test_the_environment_of_the_process_is_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MSC_HOME", str(tmp_path))
    assert Settings.from_env().home == tmp_path


@pytest.mark.parametrize("value", ["many", "0", "-1", "1.5", "²"])
def test_threads_that_are_no_number_above_0_are_refused(value: str) -> None:
    with pytest.raises(ConfigError, match="MSC_THREADS"):
        Settings.from_env({"MSC_THREADS": value})


def test_the_ledger_is_sqlite_in_the_home_unless_a_url_is_given(tmp_path: Path) -> None:
    assert Settings(home=tmp_path, landing=tmp_path).ledger == f"sqlite:///{tmp_path}/ledger.sqlite"
    assert Settings(home=tmp_path, landing=tmp_path, ledger_url="postgresql://x").ledger == "postgresql://x"


def test_addresses_with_passwords_are_not_shown(tmp_path: Path) -> None:
    shown = repr(Settings(home=tmp_path, landing=tmp_path, alert_urls=("mailto://me:hunter2@host",)))
    assert "hunter2" not in shown
