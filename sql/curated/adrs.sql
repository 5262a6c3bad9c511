-- Name:   curated.adrs
-- Label:  Disease activity (ADaM BDS): SLEDAI-2K, BILAG grades and what else was scored, with baseline and change
-- Grain:  one row per USUBJID, PARAMCD, RSDTC, RSTPT, RSSEQ
-- Input:  accepted.rs, curated.adsl, study.sledai, study.visits
-- Units:  AVAL, BASE, CHG in points; ADY in days, no day 0
-- Source: ADaM IG, BDS; baseline = last on or before the first dose: a score of that day asks about the weeks before it

with

scored as (
    select
        rs.*,
        iso_date(rs.RSDTC) as ADT,
        iso_datetime(rs.RSDTC) as ADTM,
        whole_number(rs.RSSEQ) as SEQ,
        case when coalesce(rs.RSSTAT, '') <> 'NOT DONE' then rs.RSORRES end as RESULT,
        case when coalesce(rs.RSSTAT, '') <> 'NOT DONE' then try_cast(exact_number(rs.RSORRES) as decimal(20, 8)) end as AVAL,
        v.AVISIT,
        v.week as AVISITN,
        s.TRTSDT,
        before_dose(
            iso_date(rs.RSDTC),
            iso_datetime(rs.RSDTC),
            s.TRTSDT,
            s.TRTSDTM,
            not coalesce(regexp_matches(rs.RSTPT, '(?i)post|after'), false)
        ) as PREDOSE,
        row_number() over (
            partition by rs.USUBJID, rs.RSTESTCD
            order by
                iso_date(rs.RSDTC) nulls first, iso_datetime(rs.RSDTC) nulls first, whole_number(rs.RSSEQ) nulls first,
                rs.RSDTC nulls first, rs.RSTPT nulls first
        ) as POSITION
    from accepted.rs as rs
    left join study.visits as v on rs.VISIT = v.VISIT
    left join curated.adsl as s on rs.USUBJID = s.USUBJID
),

items as (
    select
        RSTESTCD,
        count(*) over () as of_items
    from study.sledai
    where role = 'ITEM'
),

-- What the items of one assessment add up to, beside how many of them are there.
item_sums as (
    select
        r.USUBJID,
        r.RSDTC,
        r.RSTPT,
        sum(r.AVAL) as ITEM_SUM,
        count(distinct r.RSTESTCD) filter (where r.AVAL is not null) as ITEMS,
        any_value(i.of_items) as OF_ITEMS
    from scored as r
    inner join items as i on r.RSTESTCD = i.RSTESTCD
    group by r.USUBJID, r.RSDTC, r.RSTPT
),

baselines as (
    select
        USUBJID,
        RSTESTCD,
        POSITION,
        AVAL as BASE,
        RESULT as BASEC
    from scored
    where PREDOSE and RESULT is not null
    qualify row_number() over (partition by USUBJID, RSTESTCD order by POSITION desc) = 1
),

compared as (
    select
        r.*,
        b.BASE,
        b.BASEC,
        coalesce(r.POSITION = b.POSITION, false) as IS_BASELINE,
        r.ADT is not null and coalesce(r.POSITION > b.POSITION, false) as IS_AFTER,
        i.ITEM_SUM,
        i.ITEMS,
        i.OF_ITEMS
    from scored as r
    left join study.sledai as total on r.RSTESTCD = total.RSTESTCD and total.role = 'TOTAL'
    left join item_sums as i
        on
            r.USUBJID = i.USUBJID
            and r.RSDTC is not distinct from i.RSDTC
            and r.RSTPT is not distinct from i.RSTPT
            and total.RSTESTCD is not null
    left join baselines as b on r.USUBJID = b.USUBJID and r.RSTESTCD = b.RSTESTCD
)

select
    STUDYID,
    SITEID,
    USUBJID,
    RSTESTCD as PARAMCD,
    coalesce(RSTEST, RSTESTCD) as PARAM,
    RSCAT as PARCAT1,
    AVISIT,
    AVISITN,
    VISIT,
    try_cast(exact_number(VISITNUM) as decimal(10, 2)) as VISITNUM,
    SEQ as RSSEQ,
    RSTPT,
    RSDTC,
    ADT,
    ADTM,
    study_day(ADT, TRTSDT) as ADY,
    AVAL,
    RESULT as AVALC,
    BASE,
    BASEC,
    case when IS_AFTER then (AVAL - BASE)::decimal(20, 8) end as CHG,
    case when IS_AFTER and AVAL is null then BASEC || ' to ' || RESULT end as SHIFT1,
    -- A total is never replaced by the sum of its items: the two are compared, and the reader told.
    ITEM_SUM as ITEMSUM,
    case
        when AVAL is null or ITEMS is null then null
        when ITEMS = OF_ITEMS then case when ITEM_SUM = AVAL then 'Y' else 'N' end
        when ITEM_SUM > AVAL then 'N'
        else 'CANNOT TELL'
    end as ITEMSFL,
    case when IS_BASELINE then 'Y' end as ABLFL,
    -- One record per subject, score and planned visit: the baseline if it is there, else the last one with a result.
    case
        when
            RESULT is not null
            and AVISIT is not null
            and row_number() over (
                partition by USUBJID, RSTESTCD, AVISIT order by (RESULT is not null) desc, IS_BASELINE desc, POSITION desc
            ) = 1
            then 'Y'
    end as ANL01FL,
    case when ADT >= TRTSDT and not PREDOSE then 'Y' end as ONTRTFL,
    PENDFL,
    SRC_SHA256,
    SRC_ROW
from compared
