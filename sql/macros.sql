-- Macros every connection knows. No data, no study, no table except study.* inside a macro's body.

-- == Reading text, used by sql/facts and sql/cross ==================================================

-- A plain decimal number of any length as DOUBLE, for plausibility only, never for a reported value. try_cast
-- alone would take `inf`, `nan`, `0x10` and `1_000` too.
create or replace macro approximate(txt) as case
        when regexp_full_match(txt, '[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)') then try_cast(txt as double)
    end;

-- Shape of a result: NUMBER, CENSORED (`<0.2`, `>= 1210`) or TEXT; NULL when empty.
create or replace macro result_kind(txt) as
    case
        when txt is null then null
        when regexp_full_match(txt, '[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)') then 'NUMBER'
        when regexp_full_match(txt, '(<|>|<=|>=) ?([0-9]+[.]?[0-9]*|[.][0-9]+)') then 'CENSORED'
        else 'TEXT'
    end;

-- How a result is written: NUMBER, CENSORED, COMMA (`1,2`, `1,234`, `<0,2`), NOTATION (`nan`, `inf`, `0x10`, `1_000`,
-- `1e5`, digits of another script), else TEXT; NULL when empty. Only NUMBER and CENSORED are ever read as a value.
create or replace macro result_writing(txt) as
    case
        when result_kind(txt) <> 'TEXT' then result_kind(txt)
        when regexp_full_match(txt, '([<>]=?)? ?[+-]?[0-9.]*(,[0-9]+)+([.][0-9]+)?') then 'COMMA'
        when regexp_full_match(
            txt, '(?i)([<>]=?)? ?[+-]?(nan|inf|infinity|0x[0-9a-f]+|[0-9]+(_[0-9]+)+|[0-9]*[.]?[0-9]+e[+-]?[0-9]+)'
        )
            then 'NOTATION'
        when regexp_full_match(txt, '([<>]=?)? ?[+-]?[\p{Nd}.．,，]+') and regexp_matches(txt, '[^\x00-\x7F]') then 'NOTATION'
        when txt is not null then 'TEXT'
    end;

-- Whether text was read in a wrong encoding somewhere on its way: `Âµmol/L`, `Â°C`, or a replacement character.
create or replace macro garbled(txt) as regexp_matches(txt, '[ÂÃÎ\x{FFFD}]|â€');

-- Shape of a date: DATETIME (to the minute or second), DATE, PARTIAL (year, month or hour only, UN for unknown)
-- or INVALID; NULL when empty. Dates that no calendar has and 24:00 are INVALID; so are zones.
create or replace macro iso_kind(txt) as
    case
        when txt is null then null
        when regexp_full_match(
            txt, '(19|20)[0-9]{2}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?'
        )
            then case when try_cast(txt[:10] as date) is null then 'INVALID' else 'DATETIME' end
        when regexp_full_match(txt, '(19|20)[0-9]{2}-[0-9]{2}-[0-9]{2}')
            then case when try_cast(txt[:10] as date) is null then 'INVALID' else 'DATE' end
        when regexp_full_match(txt, '(19|20)[0-9]{2}(-(0[1-9]|1[0-2]))?')
            or regexp_full_match(txt, '(19|20)[0-9]{2}-(0[1-9]|1[0-2]|UNK?)-UNK?')
            or regexp_full_match(txt, '(19|20)[0-9]{2}---(0[1-9]|[12][0-9]|3[01])')
            or (
                regexp_full_match(txt, '(19|20)[0-9]{2}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3])')
                and try_cast(txt[:10] as date) is not null
            )
            then 'PARTIAL'
        else 'INVALID'
    end;

-- The calendar day of a complete date or date-time; NULL otherwise.
create or replace macro iso_date(txt) as
    case when iso_kind(txt) in ('DATE', 'DATETIME') then try_cast(txt[:10] as date) end;

-- The first day that a complete or partial date may mean (of an hour without minutes: its day); NULL when invalid or
-- empty.
create or replace macro iso_earliest(txt) as
    case
        when iso_kind(txt) in ('DATE', 'DATETIME') then try_cast(txt[:10] as date)
        when iso_kind(txt) = 'PARTIAL' and txt[11:11] = 'T' then try_cast(txt[:10] as date)
        when iso_kind(txt) = 'PARTIAL' then
            coalesce(try_cast(txt[:7] || '-01' as date), try_cast(txt[:4] || '-01-01' as date))
    end;

-- The last day that a complete or partial date may mean; NULL when invalid or empty.
create or replace macro iso_latest(txt) as
    case
        when iso_kind(txt) in ('DATE', 'DATETIME') then try_cast(txt[:10] as date)
        when iso_kind(txt) = 'PARTIAL' and txt[11:11] = 'T' then try_cast(txt[:10] as date)
        when iso_kind(txt) = 'PARTIAL' then
            coalesce(last_day(try_cast(txt[:7] || '-01' as date)), try_cast(txt[:4] || '-12-31' as date))
    end;

-- A complete date-time, local and naive as collected; a date alone is NULL.
create or replace macro iso_datetime(txt) as
    case
        when iso_kind(txt) = 'DATETIME'
            then try_cast(txt[:10] || ' ' || rpad(txt[12:], 8, ':00') as timestamp)
    end;

-- How often a local date-time happened in its zone: ONCE, TWICE (the hour that clocks repeat) or NEVER (the hour they
-- skip); NULL without a time of day. Clocks change at night, so daytime is not looked up.
create or replace macro clock_kind(txt, zone) as
    case
        when iso_kind(txt) <> 'DATETIME' or zone is null then null
        when txt[12:13] between '04' and '22' then 'ONCE'
        when timezone(zone, timezone(zone, iso_datetime(txt))) <> iso_datetime(txt) then 'NEVER'
        when timezone(zone, timezone(zone, iso_datetime(txt)) - interval 1 hour) = iso_datetime(txt)
            or timezone(zone, timezone(zone, iso_datetime(txt)) + interval 1 hour) = iso_datetime(txt)
            then 'TWICE'
        else 'ONCE'
    end;

-- 'Y' or 'N'; NULL stays NULL.
create or replace macro yes_no(flag) as case when flag then 'Y' when not flag then 'N' end;

-- Whether text holds a word of the blind; `words` is study.protocol.blinded. Running
-- `set variable blinded = (select blinded from study.protocol)` before makes the pattern a constant, compiled once
-- instead of once a row (about 80 times faster); the answer is the same without it.
create or replace macro names_arm(txt, words) as
    case
        when getvariable('blinded') is null then regexp_matches(txt, words)
        else regexp_matches(txt, coalesce(getvariable('blinded'), ''))
    end;

-- Curation
-- sqlfluff:exclude_rules:AM04,CP02,LT02,LT09,RF02,RF04,ST06,ST09

-- A plain decimal number, exact; NULL for other text and for ten billion or more.
create or replace macro exact_number(txt) as
    case when result_kind(txt) = 'NUMBER' then try_cast(txt as decimal(20, 10)) end;

-- A whole number, as a --SEQ is written; 7.0 counts as 7.
create or replace macro whole_number(txt) as
    case
        when regexp_full_match(txt, '[0-9]{1,9}([.]0*)?') then try_cast(split_part(txt, '.', 1) as integer)
    end;

-- The sign of a censored result: <, <=, > or >=; NULL for any other text.
create or replace macro censoring(txt) as
    case when result_kind(txt) = 'CENSORED' then regexp_extract(txt, '^[<>]=?') end;

-- The number of a plain or censored result, exact.
create or replace macro reported_number(txt) as
    exact_number(case when result_kind(txt) = 'CENSORED' then ltrim(txt, '<>= ') else txt end);

-- number × factor, rounded half away from zero to 8 places; NULL when it does not fit.
create or replace macro converted(number, factor) as
    case when factor = 1 then cast(number as decimal(20, 8)) else try(cast(number * factor as decimal(20, 8))) end;

-- Days since the first dose; the day of the dose is 1 and the day before is -1.
create or replace macro study_day(event_date, dose_date) as
    cast(event_date - dose_date + case when event_date >= dose_date then 1 else 0 end as integer);

-- Whether something happened before the first dose: by both times where both are known, else by the dates;
-- on the day itself `same_day` decides.
create or replace macro before_dose(event_date, event_datetime, dose_date, dose_datetime, same_day) as
    case
        when event_datetime is not null and dose_datetime is not null then event_datetime <= dose_datetime
        when event_date <> dose_date then event_date < dose_date
        when event_date = dose_date then same_day
    end;

-- Y for what is on or after the first dose, and not later than so many days after the last; NULL days have no end.
create or replace macro on_treatment(event_date, predose, first_dose, last_dose, days_after) as
    case
        when
            event_date >= first_dose
            and not predose
            and (last_dose is null or days_after is null or event_date <= last_dose + days_after)
            then 'Y'
    end;

-- Text with every word of the blind covered. `words` is NULL where a model has found none of them.
create or replace macro masked(txt, words) as
    case
        when words is null then txt
        when getvariable('blinded') is null then regexp_replace(txt, words, '[masked]', 'g')
        else regexp_replace(txt, coalesce(getvariable('blinded'), ''), '[masked]', 'g')
    end;

-- Sample standard deviation from squared deviations, summed as DECIMAL; NULL below two values.
create or replace macro standard_deviation(squares) as
    case
        when count(squares) > 1
            then cast(sqrt(cast(sum(squares) as double) / (count(squares) - 1)) as decimal(20, 8))
    end;

-- == Findings of ECG and chest radiography =========================================================

-- Whether a reading is a new clinically significant finding: Y, N, or U where reading, baseline or day leave it open.
-- `after` says whether the reading is after the first dose; before it nothing is new, and there is no answer.
create or replace macro new_finding(reading, base, after) as
    case
        when reading is null or not after then null
        when reading in ('NORMAL', 'ABNORMAL NCS') or base = 'ABNORMAL CS' then 'N'
        when after and reading = 'ABNORMAL CS' and base in ('NORMAL', 'ABNORMAL NCS') then 'Y'
        else 'U'
    end;

-- == Judging against a cut-off ======================================================================
-- A value, exact (low = high) or censored (an interval). NULL where the interval holds both answers, or value or
-- cut-off is unknown. `sign` is the censored result's own: `<5` is below 5, `<=5` may be 5.

-- Whether it is at or above the cut-off.
create or replace macro reaches(low, high, sign, cutoff) as
    case
        when low >= cutoff then true
        when high < cutoff or (high = cutoff and sign = '<') then false
    end;

-- Whether it is above the cut-off.
create or replace macro exceeds(low, high, sign, cutoff) as
    case
        when low > cutoff or (low = cutoff and sign = '>') then true
        when high <= cutoff then false
    end;

-- Whether any of a group is so: NULL when none surely is and one cannot be told.
create or replace macro any_is(flag) as case when bool_or(flag) then true when count(*) = count(flag) then false end;

-- == Limits of a result =============================================================================

-- A result against multiples of its limits: HIGH, LOW, or NORMAL between and at them; NULL without value or limits,
-- and where a censored result (`sign`, the interval from lowest to highest) may lie on either side. Products only.
create or replace macro beyond_limits(lowest, highest, sign, lln, uln, times_lln, times_uln) as case
        when lowest is null or (lln is null and uln is null) then null
        when lowest > times_uln * uln or (sign = '>' and lowest = times_uln * uln) then 'HIGH'
        when highest < times_lln * lln or (sign = '<' and highest = times_lln * lln) then 'LOW'
        when (uln is null or highest <= times_uln * uln) and (lln is null or lowest >= times_lln * lln) then 'NORMAL'
    end;

-- How far a result lies beyond the nearer of the two multiples (negative: within); a censored one by its known end.
create or replace macro excess(lowest, highest, lln, uln, times_lln, times_uln) as
    greatest(lowest - times_uln * uln, times_lln * lln - highest);

-- Of many results the most extreme: HIGH or LOW before NORMAL, the one further beyond its limits, HIGH when equal; NULL
-- where none could be judged. An aggregate.
create or replace macro most_extreme(indicator, excess) as case
        when max(excess) filter (where indicator = 'LOW') > max(excess) filter (where indicator = 'HIGH') then 'LOW'
        when bool_or(indicator = 'HIGH') then 'HIGH'
        when bool_or(indicator = 'LOW') then 'LOW'
        when bool_or(indicator = 'NORMAL') then 'NORMAL'
    end;

-- == Grading =======================================================================================

-- Where a criterion of derived.lab_criteria cuts: its multiple of a limit or of the baseline, or the number itself,
-- and what is added; NULL when the limit or the baseline is not known.
create or replace macro cut_off(criterion, lower_limit, upper_limit, own_baseline) as
    criterion.multiplier
    * case criterion.reference
        when 'LLN' then lower_limit when 'ULN' then upper_limit when 'BASE' then own_baseline
        else cast(1 as decimal(30, 12))
    end
    + criterion.addend;

-- Whether the values from `from_value` to `to_value` meet a criterion: all of them (TRUE), none (FALSE), or it cannot
-- be told (NULL). NULL as `to_value` is no end. `sign` is that of a censored result: < and > leave the end itself out.
-- The cut-off may be an interval too, of a censored baseline. Where CTCAE has no criterion none is met.
create or replace macro meets(criterion, from_value, to_value, sign, cut_from, cut_to) as
    case
        when criterion is null then false
        when criterion.operator = '<' then
            case
                when to_value < cut_from or (to_value = cut_from and sign is not distinct from '<') then true
                when from_value >= cut_to then false
            end
        when criterion.operator = '>' then
            case
                when from_value > cut_to or (from_value = cut_to and sign is not distinct from '>') then true
                when to_value <= cut_from then false
            end
        when criterion.operator = '>=' then
            case
                when from_value >= cut_to then true
                when to_value < cut_from or (to_value = cut_from and sign is not distinct from '<') then false
            end
    end;

-- The least grade a value may have: of the criteria it meets for certain.
create or replace macro least_grade(is_1, is_2, is_3, is_4) as
    case when is_4 then 4 when is_3 then 3 when is_2 then 2 when is_1 then 1 else 0 end;

-- The highest grade a value may have: of the criteria it does not miss for certain.
create or replace macro highest_grade(is_1, is_2, is_3, is_4) as
    case
        when coalesce(is_4, true) then 4 when coalesce(is_3, true) then 3 when coalesce(is_2, true) then 2
        when coalesce(is_1, true) then 1
        else 0
    end;

-- part of whole as a percentage, exact, half away from zero to one place; NULL where there is no whole.
create or replace macro percentage(part, whole) as
    case when whole > 0 then cast(((2000 * part + whole) // (2 * whole)) * 0.1 as decimal(6, 1)) end;

-- == Eligibility ====================================================================================

-- Text as its words in upper case, each between spaces, so that a word or words are found whole:
-- contains(as_words('PREDNISONE (oral)'), as_words('prednisone')).
create or replace macro as_words(txt) as ' ' || regexp_replace(upper(txt), '[^\p{Lu}0-9]+', ' ', 'g') || ' ';

-- The dilution of a titer, 80 for `1:80`, `>=1:80` or `<1/80`; NULL for any other text. titer_sign: its sign, if any.
create or replace macro titer_dilution(txt) as
    case when regexp_full_match(txt, '([<>]=? ?)?1 ?[:/] ?[0-9]{1,7}') then try_cast(regexp_extract(txt, '[0-9]+$') as integer) end;

create or replace macro titer_sign(txt) as regexp_extract(txt, '^[<>]=?');

-- Glomerular filtration, mL/min/1.73 m2, from creatinine in mg/dL by the coefficients of a row of reference.ckd_epi; NULL for
-- creatinine of 0, where it has no bound.
create or replace macro ckd_epi(mg_dl, kappa, alpha, beyond, yearly, factor, age) as
    case
        when mg_dl > 0
            then cast(
                    round(
                        cast(factor as double)
                        * pow(least(cast(mg_dl as double) / cast(kappa as double), 1), cast(alpha as double))
                        * pow(greatest(cast(mg_dl as double) / cast(kappa as double), 1), cast(beyond as double))
                        * pow(cast(yearly as double), age),
                        6
                    ) as decimal(20, 8)
                )
    end;
