"""Names of columns: what a site calls a column → what the standard calls it.

Belongs here: usual names (English, some German, Spanish, French), as data, and how a name is compared. Does not:
cells. `--` stands for the domain.
"""

from __future__ import annotations

import re
from functools import cache

from msc_pipeline import cdisc

USUAL = {
    "STUDYID": "study studyno studynumber studycode studyidentifier protocol protocolid protocolno trial trialid",
    "USUBJID": "uniquesubjectid uniquesubjectidentifier uniquepatientid",
    "SUBJID": "subjectnumber subjectno patientnumber patientno screeningnumber screeningno",
    "USUBJID SUBJID": "subject subjectid subjectidentifier patient patientid patid pid participant participantid "
    "recordid record paciente sujeto proband sujet",
    "SITEID": "site sitecode sitenumber siteno centre center centreid centerid institution",
    "VISIT": "visitname visitlabel timepointname redcapeventname event eventname besuch visite visita",
    "VISITNUM": "visitnumber visitno visitnr",
    "--SEQ": "sequence sequenceno sequencenumber seqno seq lineno recordnumber redcaprepeatinstance "
    "nr lfdnr resultno",
    "--REFID": "sampleid sampleno specimenid specimenno accession accessionno accessionnumber barcode "
    "probe probennr muestra",
    "--TESTCD": "testcode analytecode parametercode paramcd analyte labtestcode",
    "--TEST": "testname testdescription analytename parametername testlabel",
    "--TESTCD --TEST": "test parameter param assay labtest analyse untersuchung prueba analito parametro",
    "--CAT": "category panel testcategory gruppe",
    "--SPEC": "specimen specimentype sampletype material matrix",
    "--ORRES": "result resultvalue value originalresult labresult measurement finding testresult "
    "ergebnis wert messwert resultado valor resultat valeur",
    "--ORRESU": "unit units resultunit originalunit uom labunit einheit unidad unite",
    "--ORNRLO": "low lower lowerlimit lln referencelow rangelow normallow refrangelow reflow lowernormal "
    "unteregrenze limiteinferior",
    "--ORNRHI": "high upper upperlimit uln referencehigh rangehigh normalhigh refrangehigh refhigh uppernormal "
    "oberegrenze limitesuperior",
    "--STAT": "status completionstatus notdone",
    "--REASND": "reasonnotdone notdonereason",
    "--METHOD": "method assaymethod",
    "--TPT": "timepoint plannedtimepoint zeitpunkt timing",
    "--DTC": "date datetime collectiondate collectiondatetime collected samplingdate sampledate drawdate "
    "collectedon specimendate dateofcollection assessmentdate examinationdate measurementdate "
    "abnahme abnahmedatum datum fecha toma dateprelevement",
    "--STDTC": "startdate start startdatetime onsetdate onset datestart beginn inicio debut",
    "--ENDTC": "enddate end enddatetime stopdate resolutiondate dateend ende fin",
    "--TERM": "term event adverseevent diagnosis verbatimterm reportedterm description "
    "ereignis evento evenement",
    "--DECOD": "preferredterm pt decodedterm codedterm",
    "--TRT": "medication drug drugname medicationname",
    "--SEV": "severity intensity schweregrad",
    "--SER": "serious seriousness sae schwerwiegend",
    "--REL": "relationship causality related relatedness",
    "--OUT": "outcome",
    "--DOSE": "dose amount",
    "--DOSU": "doseunit",
    "--DOSFRQ": "frequency",
    "--ROUTE": "route",
    "--INDC": "indication",
    "AGE": "ageyears ageatconsent",
    "SEX": "gender sexatbirth",
    "RACE": "ethnicorigin",
    "RFICDTC": "consentdate informedconsentdate dateofconsent",
    "RFSTDTC": "infusiondate firstdosedate dateoffirstdose",
    "DTHDTC": "deathdate dateofdeath",
}
"""Standard names (several: any of them) → names that sites use, without case, spaces and signs."""

DERIVED = re.compile(
    r"(?:[A-Z]{2})(?:STRESC|STRESN|STRESU|STNRLO|STNRHI|STNRC|NRIND|BLFL|LOBXFL|DY|STDY|ENDY|DRVFL|FAST)|VISITDY"
)
"""Variables of SDTM that are derived from others: this pipeline derives its own."""

ARM = (
    "arm armcd actarm actarmcd treatment treatmentarm trt trta trtp treatmentgroup group cohort randomisation "
    "randomization randomisationno randomizationno randno randnumber kit kitno kitnumber kitid lot lotno lotnumber "
    "batch batchno batchnumber extrt exdose exdosu dosevolume volume viability cellcount studydrug"
)
"""Names, compared as USUAL, of columns that may tell the arm."""


def plain(name: str) -> str:
    """Return a name without case, spaces and signs."""
    return re.sub(r"[\W_]", "", name).casefold()


@cache
def _usual() -> dict[str, tuple[str, ...]]:
    return {word: tuple(names.split()) for names, words in USUAL.items() for word in words.split()}


def may_tell_arm(name: str) -> bool:
    """Say whether a column of this name may tell the arm."""
    return plain(name) in ARM.split()


def usual_names(name: str, domain: str) -> tuple[str, ...]:
    """Return the standard names that a usual name may stand for in a domain."""
    word = plain(name)
    found = _usual().get(word) or _usual().get(word.removeprefix(domain.lower())) or ()
    return tuple(standard.replace("--", domain) for standard in found if domain or "--" not in standard)


def known_name(name: str) -> bool:
    """Say whether a name is a standard or a usual one, in any domain."""
    upper = name.strip().upper()
    return plain(name) in _usual() or any(upper in columns for columns in cdisc.COLUMNS.values())
