"""Trying: what would happen to a file, without landing it.

Belongs here: the same reader, rules and decision as a delivery meets, over a temporary folder. Does not: store
anything, compare with earlier deliveries or other domains.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from msc_pipeline.errors import DeliveryRejected, UsageError
from msc_pipeline.landing import route
from msc_pipeline.manifests import known_as
from msc_pipeline.settings import Settings
from msc_pipeline.staging import stage_file
from msc_pipeline.storage import sha256_of
from msc_pipeline.study import Study
from msc_pipeline.validation import judge, load_rules, open_delivery


def try_file(study: Study, site: str, file: Path, settings: Settings, *, domain: str = "") -> dict[str, Any]:
    """Return {"file", "site", "domain", "status", "code", "reason", "rows_in", "quarantined", "rules"}.

    `rules` lists what failed: rule, severity, rows, sentence. Raises: UsageError SITE_UNKNOWN, DOMAIN_UNKNOWN.
    """
    if site not in study.sites:
        raise UsageError("SITE_UNKNOWN", f"{site} is not a site of {study.id}", hint=", ".join(study.sites))
    if domain and domain not in study.domains:
        raise UsageError(
            "DOMAIN_UNKNOWN", f"{study.id} does not collect {domain}", hint=", ".join(study.domains)
        )
    profile = study.profile(site)
    report: dict[str, Any] = {"file": file.name, "site": site, "domain": domain}
    try:
        name = domain or route(study, site, known_as(study, file.name), profile)
        report["domain"] = name
        if file.stat().st_size > profile.max_bytes:
            raise DeliveryRejected("SIZE", "The file is larger than the site's profile allows.")
        with tempfile.TemporaryDirectory(prefix="msc-check-") as folder:
            staged = Path(folder) / "staged.parquet"
            mine = study.profile(site, name)
            stage_file(file, mine, study.domains[name], staged, code=name, name=file.name)
            rules = load_rules(study, name, settings.project)
            delivery = {"site": site, "domain": name, "sha256": sha256_of(file)}
            connection = open_delivery(study, delivery, staged, rules, settings)
            try:
                verdict = judge(connection, study, rules)
            finally:
                connection.close()
    except DeliveryRejected as fault:
        counts = {"rows_in": 0, "quarantined": 0}
        why = {"status": "REJECTED", "code": fault.code, "reason": fault.message}
        return {**report, **why, **counts, "rules": []}
    says = {rule.id: rule.meta.says for suite in (*rules.file, *rules.rows) for rule in suite.rules}
    failed = [
        {"rule": r.rule_id, "severity": r.severity, "rows": r.n_failed, "says": says[r.rule_id]}
        for r in verdict.results
        if r.outcome == "failed"
    ]
    status = "REJECTED" if verdict.code else "PARTIAL" if verdict.quarantined else "ACCEPTED"
    counts = {"rows_in": verdict.rows_in, "quarantined": verdict.quarantined}
    return {
        **report,
        "status": status,
        "code": verdict.code,
        "reason": verdict.reason,
        **counts,
        "rules": failed,
    }
