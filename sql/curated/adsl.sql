-- Name:   curated.adsl
-- Label:  Subject-level analysis dataset, without anything that tells the arm
-- Grain:  one row per USUBJID
-- Input:  accepted.ae, accepted.cm, accepted.dm, accepted.ds, accepted.ex, accepted.lb, accepted.sv, accepted.vs, study.protocol
-- Units:  AGE in AGEU
-- Source: ADaM IG, ADSL; disposition from DS, the categories that study.protocol names; death from DM, AE or DS, whichever says so

with

-- First and last dose. The end stays open while any dose record has none.
dosing as (
    select
        USUBJID,
        min(iso_date(EXSTDTC)) as FIRST_DATE,
        min(iso_datetime(EXSTDTC)) as FIRST_DATETIME,
        case when count(*) = count(iso_date(EXENDTC)) then max(iso_date(EXENDTC)) end as LAST_DATE
    from accepted.ex
    where EXSTDTC is not null
    group by USUBJID
),

-- The record that ended the study for a subject: the latest. Completing the screening ends nothing.
disposition as (
    select
        USUBJID,
        DSDECOD,
        coalesce(iso_date(DSSTDTC), iso_date(DSDTC)) as DS_DATE
    from accepted.ds
    cross join study.protocol as p
    where list_contains(p.leaves_study, DSCAT) and not (DSDECOD = 'COMPLETED' and coalesce(EPOCH, '') = 'SCREENING')
    qualify row_number() over (
            partition by USUBJID order by DS_DATE desc nulls last, whole_number(DSSEQ) desc nulls last, DSDECOD
        ) = 1
),

-- A death that any domain reports.
deaths as (
    select
        USUBJID,
        min(DEATH_DATE) as DEATH_DATE
    from (
        select
            USUBJID,
            iso_date(DTHDTC) as DEATH_DATE
        from accepted.dm
        where DTHFL = 'Y' or DTHDTC is not null
        union all
        select
            USUBJID,
            iso_date(AEENDTC) as DEATH_DATE
        from accepted.ae
        where AESDTH = 'Y' or AEOUT = 'FATAL'
        union all
        select
            USUBJID,
            coalesce(iso_date(DSSTDTC), iso_date(DSDTC)) as DEATH_DATE
        from accepted.ds
        where DSDECOD = 'DEATH'
    ) as reported
    group by USUBJID
),

-- Every date on which something was collected; each text is read once.
cells as (
    select distinct USUBJID, LBDTC as CELL from accepted.lb
    union
    select USUBJID, unnest([SVSTDTC, SVENDTC]) as CELL from accepted.sv
    union
    select distinct USUBJID, VSDTC as CELL from accepted.vs
    union
    select USUBJID, unnest([AEDTC, AESTDTC]) as CELL from accepted.ae
    union
    select USUBJID, CMDTC as CELL from accepted.cm
    union
    select USUBJID, unnest([DSDTC, DSSTDTC]) as CELL from accepted.ds
    union
    select USUBJID, unnest([EXSTDTC, EXENDTC]) as CELL from accepted.ex
    union
    select USUBJID, DMDTC as CELL from accepted.dm
),

dates as (
    select
        CELL,
        iso_date(CELL) as LAST_DATE
    from (select distinct CELL from cells) as texts
),

contacts as (
    select
        c.USUBJID,
        max(d.LAST_DATE) as LAST_DATE
    from cells as c
    inner join dates as d on c.CELL = d.CELL
    cross join study.protocol as p
    where d.LAST_DATE <= iso_date(p.last_plausible_date)
    group by c.USUBJID
)

select
    dm.STUDYID,
    dm.SITEID,
    dm.USUBJID,
    dm.SUBJID,
    whole_number(dm.AGE) as AGE,
    dm.AGEU,
    dm.SEX,
    dm.RACE,
    dm.ETHNIC,
    dm.COUNTRY,
    iso_date(dm.RFICDTC) as RFICDT,
    case when dosing.USUBJID is not null then coalesce(dosing.FIRST_DATE, iso_date(dm.RFXSTDTC)) end as TRTSDT,
    case when dosing.FIRST_DATETIME::date = dosing.FIRST_DATE then dosing.FIRST_DATETIME end as TRTSDTM,
    case when dosing.USUBJID is not null then coalesce(dosing.LAST_DATE, iso_date(dm.RFXENDTC)) end as TRTEDT,
    case when dosing.USUBJID is not null then 'Y' else 'N' end as SAFFL,
    case when disposition.DSDECOD = 'SCREEN FAILURE' then 'Y' else 'N' end as SCRFFL,
    case
        when disposition.DSDECOD in ('SCREEN FAILURE', 'COMPLETED') then disposition.DSDECOD
        when disposition.USUBJID is not null or deaths.USUBJID is not null then 'DISCONTINUED'
        else 'ONGOING'
    end as EOSSTT,
    case when disposition.USUBJID is not null then disposition.DS_DATE else deaths.DEATH_DATE end as EOSDT,
    case
        when disposition.DSDECOD in ('SCREEN FAILURE', 'COMPLETED') then null
        when disposition.USUBJID is not null then masked(disposition.DSDECOD, p.blinded)
        when deaths.USUBJID is not null then 'DEATH'
    end as DCSREAS,
    case when deaths.USUBJID is not null then 'Y' end as DTHFL,
    deaths.DEATH_DATE as DTHDT,
    contacts.LAST_DATE as LSTDT,
    dm.PENDFL,
    dm.SRC_SHA256,
    dm.SRC_ROW
from accepted.dm as dm
cross join study.protocol as p
left join dosing on dm.USUBJID = dosing.USUBJID
left join disposition on dm.USUBJID = disposition.USUBJID
left join deaths on dm.USUBJID = deaths.USUBJID
left join contacts on dm.USUBJID = contacts.USUBJID
