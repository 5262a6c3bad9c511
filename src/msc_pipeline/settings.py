"""Where things are: folders, ledger address, alert addresses, read from the environment once.

Belongs here: paths and addresses of one installation. Does not: anything about a study (studies/<id>/).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from msc_pipeline.errors import ConfigError

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Settings:
    """One installation.

    home: curated data, raw copies, releases. landing: the folder above `<study>/<SITEID>/`.
    project: the folder that holds studies/, sql/ and expectations/. alert_urls may carry secrets, so they
    stay out of `repr`. threads: DuckDB threads per process; results do not depend on it.
    """

    home: Path
    landing: Path
    project: Path = PROJECT
    ledger_url: str = ""
    alert_urls: tuple[str, ...] = field(default=(), repr=False)
    page_url: str = ""
    threads: int = 2

    @property
    def ledger(self) -> str:
        """SQLAlchemy URL of the ledger: SQLite inside the home unless one is given."""
        return self.ledger_url or f"sqlite:///{self.home / 'ledger.sqlite'}"

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        home: Path | None = None,
        landing: Path | None = None,
    ) -> Settings:
        """Read MSC_HOME, MSC_LANDING, MSC_PROJECT, MSC_LEDGER_URL, MSC_ALERT_URLS, MSC_PAGE_URL, MSC_THREADS.

        A variable that is set but empty counts as not set. Raises: ConfigError SETTING.
        """
        env = os.environ if environ is None else environ
        threads = env.get("MSC_THREADS") or str(os.cpu_count() or 2)
        if not (threads.isascii() and threads.isdigit() and int(threads) > 0):
            raise ConfigError("SETTING", "MSC_THREADS is not a number above 0")
        return cls(
            home=(home or Path(env.get("MSC_HOME") or ".run/home")).resolve(),
            landing=(landing or Path(env.get("MSC_LANDING") or ".run/landing")).resolve(),
            project=Path(env.get("MSC_PROJECT") or PROJECT).resolve(),
            ledger_url=env.get("MSC_LEDGER_URL", ""),
            alert_urls=tuple(env.get("MSC_ALERT_URLS", "").split()),
            page_url=env.get("MSC_PAGE_URL", "").rstrip("/"),
            threads=int(threads),
        )
