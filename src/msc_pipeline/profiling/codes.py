"""Codes: test codes, units, visits, sex and flags that the study or the standard knows, and what to map to them.

Belongs here: coded columns only. Does not: results, identifiers, free text.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from decimal import Decimal, InvalidOperation
from pathlib import Path

from msc_pipeline.profiling.names import plain
from msc_pipeline.profiling.proposal import Column, Proposal, showable
from msc_pipeline.study import Study

SEX = {"F": "female f w weiblich femme frau", "M": "male m männlich homme mann"}
FLAG = {"Y": "yes y ja j oui true", "N": "no n nein non false"}
SEVERITY = {"MILD": "mild 1mild grade1", "MODERATE": "moderate 2moderate", "SEVERE": "severe 3severe"}
TESTS = {
    "HGB": "hb hgb haemoglobin hemoglobin", "WBC": "wbc leukocytes leucocytes leukozyten", "RBC": "rbc erythrocytes",
    "PLAT": "plt plat platelets thrombocytes thrombozyten", "NEUT": "neut neutrophils anc", "LYM": "lym lymphocytes",
    "ALT": "alt alat gpt sgpt", "AST": "ast asat got sgot", "ALP": "alp alkp alkphos alkalinephosphatase",
    "GGT": "ggt gammagt", "BILI": "bili tbil bilirubin totalbilirubin", "BILDIR": "bildir dbil directbilirubin",
    "ALB": "alb albumin", "CREAT": "creat crea creatinine kreatinin", "UREAN": "bun ureanitrogen", "CRP": "crp",
    "AFP": "afp", "CEA": "cea", "CA125AG": "ca125", "CA15_3AG": "ca153", "CA19_9AG": "ca199", "PSA": "psa",
    "SODIUM": "na sodium natrium", "K": "k potassium kalium", "GLUC": "glucose gluc", "C3": "c3", "C4": "c4",
}  # fmt: skip
"""Standard code → usual ways to write it, without case, spaces and signs."""

UNIT_TABLES = {"LB": ("units.csv", "LBTESTCD"), "VS": ("vital_units.csv", "VSTESTCD")}
MICRO = str.maketrans({"\N{GREEK SMALL LETTER MU}": "u", "\N{MICRO SIGN}": "u", "×": "x"})


def describe_codes(columns: list[Column], proposal: Proposal, study: Study | None) -> None:
    """Propose `values` of coded columns; ask about codes that nothing is known of."""
    by_name = {c.standard: c for c in columns if c.standard}
    domain, guessed = proposal.domain, list[str]()
    known = {
        "SEX": _words(SEX),
        "AESEV": _words(SEVERITY),
        "AESER": _words(FLAG),
        "DTHFL": _words({"Y": "yes y ja oui"}),
    }
    if study:
        known["VISIT"] = {plain(v.VISIT): v.VISIT for v in study.visits}
        known["LBTESTCD"] = known_tests(study)
    for name, words in known.items():
        if name in by_name and words:
            guessed += _map(by_name[name], words, proposal, study)
    if guessed:
        proposal.ask(
            "CONFIRM_VALUES", f"Taken by their usual meaning, to be confirmed: {'; '.join(guessed)}."
        )
    if study and "VISITNUM" in by_name:
        _visit_numbers(by_name["VISITNUM"], proposal, study)
    if f"{domain}ORRESU" not in by_name and f"{domain}TESTCD" in by_name and domain in UNIT_TABLES:
        proposal.ask(
            "UNITS", "The file has no units. Give `units` by test code, as the laboratory states them."
        )


def known_tests(study: Study) -> dict[str, str]:
    """Return plain text → test code, for the codes of the study's laboratory tests and usual ways to write them."""
    own = {plain(analyte.LBTESTCD): analyte.LBTESTCD for analyte in study.analytes}
    return {**{word: code for word, code in _words(TESTS).items() if code in own.values()}, **own}


def _words(table: dict[str, str]) -> dict[str, str]:
    return {word: code for code, words in table.items() for word in words.split()}


def _map(column: Column, words: dict[str, str], proposal: Proposal, study: Study | None) -> list[str]:
    """Propose values of one column; return those taken by meaning, as text."""
    right = set(words.values())
    values, unknown, guessed = dict[str, str](), list[str](), list[str]()
    for cell in sorted(filter(None, column.cells)):
        if cell in right or (
            column.standard == "VISIT" and study and re.match(study.unscheduled_visits, cell)
        ):
            continue
        if code := words.get(plain(cell)):
            values[cell] = code
            if plain(code) != plain(cell):
                guessed.append(f"{column.standard}: {showable([cell], study)} is {code}")
        else:
            unknown.append(cell)
    if values:
        proposal.fields.setdefault("values", {})[column.standard] = values
    if unknown:
        which = f"{column.subject}, {column.standard}"
        says = f"{which}: not known: {showable(unknown, study)}. Map each in `values`."
        proposal.ask("CODE", says, column)
    return guessed


def _visit_numbers(column: Column, proposal: Proposal, study: Study) -> None:
    planned = {visit.VISITNUM for visit in study.visits}
    unknown = [cell for cell in column.cells if cell and not _planned(cell, planned)]
    if unknown:
        says = f"not planned: {showable(unknown, study)}. Unscheduled visits, or numbers to map in `values`?"
        proposal.ask("CODE", f"{column.subject}, VISITNUM: {says}", column)


def _planned(cell: str, planned: set[Decimal]) -> bool:
    try:
        return Decimal(cell.strip().replace(",", ".")) in planned
    except InvalidOperation:
        return False


def describe_units(
    pairs: Counter[tuple[str, str]], proposal: Proposal, study: Study | None, project: Path
) -> None:
    """Propose values of units; ask about units that the table of units lacks for their test.

    pairs: (test code as sent, unit as sent) with how many results have them.
    """
    known = _known_units(proposal.domain, project)
    tests = proposal.fields.get("values", {}).get(f"{proposal.domain}TESTCD", {})
    used: dict[str, set[str]] = {}
    for test, unit in pairs:
        if (code := tests.get(test, test)) in known:
            used.setdefault(unit, set()).add(code)
    without = sorted(code for code in used.pop("", set()) if "" not in known[code])
    if without:
        proposal.ask(
            "UNITS", f"Results without a unit: {showable(without, study)}. Give `units` by test code."
        )
    values, unknown = dict[str, str](), list[str]()
    for unit, codes in sorted(used.items()):
        lacking = [code for code in sorted(codes) if unit not in known[code]]
        meant = {_meant(unit, known[code]) for code in codes}
        if lacking and len(meant) == 1 and (other := meant.pop()):
            values[unit] = other
        else:
            unknown += [f"{code} in {unit}" for code in lacking]
    if values:
        proposal.fields.setdefault("values", {})[f"{proposal.domain}ORRESU"] = values
    if unknown:
        says = "Units that the table of units lacks for their test"
        proposal.ask("UNIT", f"{says}: {showable(unknown, study)}. Map them in `values`.")


def _known_units(domain: str, project: Path) -> dict[str, dict[str, str]]:
    """Return test code → {unit: the one way to write it}, from the table of units."""
    table, key = UNIT_TABLES[domain]
    known: dict[str, dict[str, str]] = {}
    with (project / "sql" / "reference" / table).open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            known.setdefault(row[key], {})[row["unit"]] = row.get("ucum", row["unit"])
    return known


def _meant(unit: str, known: dict[str, str]) -> str:
    """Return the known unit that differs in case, spaces and signs only; nothing where two units would."""
    alike = {one: ucum for one, ucum in known.items() if _alike(one) == _alike(unit)}
    if len(set(alike.values())) != 1:
        return ""
    ucum = next(iter(alike.values()))
    return ucum if ucum in alike else min(alike)


def _alike(unit: str) -> str:
    return re.sub(r"[\s^*()]", "", unit.translate(MICRO)).casefold()
