-- Name:   dsmb.stopping_boundary
-- Label:  Boundaries of the stopping rules: how many events stop the study, by the number of subjects evaluated
-- Grain:  one row per rule, n
-- Input:  study.stopping_boundary
-- Units:  counts of subjects and events; percent of n
-- Source: safety.stopping of the study, computed exactly before any data is seen; empty boundary: no number of events can stop the study yet

select
    rule,
    n,
    boundary,
    percentage(boundary, n) as percent
from study.stopping_boundary
