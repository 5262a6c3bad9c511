"""Log set-up for the command line. Under Airflow its own handlers are inherited and this is not called.

Log lines hold names of studies, sites, files, rules and counts; never a subject id or a cell value.
"""

from __future__ import annotations

import logging


def to_terminal(verbose: bool = False) -> None:
    """Send log lines to stderr: warnings by default, everything of ours with `verbose`."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level=logging.WARNING)
    logging.getLogger("msc_pipeline").setLevel(logging.INFO if verbose else logging.WARNING)
    for noisy in ("great_expectations", "apprise"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
