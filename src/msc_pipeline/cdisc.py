"""Standard names the project shares with SDTM: domains and identifier shapes.

Belongs here: what the standard fixes for every study. Does not: which columns a study collects, its keys,
visits or units (studies/<id>/study.yaml), and labels of curated columns (sql/reference/dictionary.csv).
"""

from __future__ import annotations

import re

LAB_DOMAIN = "LB"
VISIT_DOMAINS = ("DM", "SV", "DS", "EX", "AE", "CM", "MH", "VS", "EG", "RS", "XR")
DOMAINS = (LAB_DOMAIN, *VISIT_DOMAINS)
"""SDTM domains of the lab export and the visit export; XR (chest radiography) is ours."""

DOMAIN_LABELS = {
    "LB": "Laboratory test results",
    "DM": "Demographics",
    "SV": "Subject visits",
    "DS": "Disposition",
    "EX": "Exposure, without anything that tells the arm",
    "AE": "Adverse events",
    "CM": "Concomitant medications",
    "MH": "Medical history",
    "VS": "Vital signs",
    "EG": "ECG",
    "RS": "Disease activity",
    "XR": "Chest radiography",
}

_ALWAYS = "STUDYID DOMAIN USUBJID"
COLUMNS = {
    domain: tuple(f"{_ALWAYS} {names}".split())
    for domain, names in {
        "LB": "LBSEQ LBREFID LBTESTCD LBTEST LBCAT LBSPEC LBORRES LBORRESU LBORNRLO LBORNRHI LBSTAT LBREASND "
        "LBMETHOD LBTPT VISITNUM VISIT LBDTC",
        "DM": "SUBJID SITEID RFSTDTC RFENDTC RFXSTDTC RFXENDTC RFICDTC RFPENDTC DTHDTC DTHFL AGE AGEU SEX RACE "
        "ETHNIC COUNTRY DMDTC",
        "SV": "VISITNUM VISIT SVSTDTC SVENDTC SVUPDES",
        "DS": "DSSEQ DSSPID DSTERM DSDECOD DSCAT VISITNUM VISIT EPOCH DSDTC DSSTDTC",
        "EX": "EXSEQ EXSTDTC EXENDTC EXADJ",
        "AE": "AESEQ AESPID AETERM AELLT AEDECOD AEBODSYS AESOC AESEV AESER AEACN AEREL AEOUT AESCONG AESDISAB "
        "AESDTH AESHOSP AESLIFE AETOXGR AEDTC AESTDTC AEENDTC",
        "CM": "CMSEQ CMSPID CMTRT CMDECOD CMINDC CMCLAS CMDOSE CMDOSU CMDOSFRQ CMROUTE VISITNUM VISIT CMDTC "
        "CMSTDTC CMENDTC",
        "MH": "MHSEQ MHSPID MHTERM MHLLT MHDECOD MHCAT MHBODSYS MHSEV VISITNUM VISIT MHDTC MHSTDTC",
        "VS": "VSSEQ VSTESTCD VSTEST VSPOS VSORRES VSORRESU VSSTAT VSLOC VISITNUM VISIT VSDTC VSTPT",
        "EG": "EGSEQ EGTESTCD EGTEST EGORRES EGORRESU EGCLSIG EGSTAT VISITNUM VISIT EGDTC EGTPT",
        "RS": "RSSEQ RSTESTCD RSTEST RSCAT RSORRES RSSTAT VISITNUM VISIT RSDTC RSTPT",
        "XR": "XRSEQ XRORRES XRSTAT VISITNUM VISIT XRDTC",
    }.items()
}
"""Columns every relation of a domain has, collected or not, so that a model may name them. A study may add to
them. EX has none that could tell the arm."""

SITE_CELL = "SITEID_CELL"
"""Name of an export's own SITEID column once read; SITEID is always the folder a file came from."""

VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,31}")
"""A CDISC variable name. SQL identifiers are built only from names that match it."""


def is_variable(name: str) -> bool:
    """Say whether `name` is a well-formed CDISC variable name."""
    return VARIABLE.fullmatch(name) is not None


def columns(domain: str, collected: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the columns of a domain's relations: the standard's, then those a study adds; see SITE_CELL."""
    names = dict.fromkeys((*COLUMNS[domain], *collected))
    return tuple(SITE_CELL if name == "SITEID" else name for name in names)
