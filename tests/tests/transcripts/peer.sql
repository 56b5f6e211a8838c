-- What only a peer may ask for, and what it must not learn by it.

-- parts of an average of the few
SELECT kanon_part_sum(age), kanon_part_count(age) FROM {p} WHERE city = 'Ems'

-- parts of an average of one
SELECT kanon_part_sum(cost) FROM {p} WHERE pid = 17

-- parts by person
SELECT pid, kanon_part_sum(cost) FROM {p} GROUP BY pid

-- parts by city
SELECT city, kanon_part_count(age), kanon_part_sum(age) FROM {p} WHERE ward <> 'W6' AND city <> 'Aarau' AND city <> 'Bern' GROUP BY city

-- the part that counts rows of few
SELECT kanon_part_count(age, age) FROM {p} WHERE city = 'Ems'

-- the part that counts beside a filter
SELECT kanon_part_count(age), kanon_part_count(age) FILTER (WHERE city <> 'Ems') FROM {p} WHERE ward <> 'W6' AND age > 95

-- the count of values that are there beside that of all: a peer that merges averages is told it
-- known
SELECT count(*) AS n, kanon_part_count(note) AS m FROM {p}

-- the sum of values that are there beside their count
SELECT kanon_part_sum(note), kanon_part_count(note) FROM {p}

-- moments of the few
SELECT kanon_part_count(age), kanon_part_avg(age), kanon_part_m2(age) FROM {p} WHERE city = 'Ems'

-- moments of the few with the others beside them
SELECT kanon_part_avg(age) FILTER (WHERE city = 'Ems'), kanon_part_m2(age) FILTER (WHERE city = 'Ems') FROM {p}

-- moments of pairs of the few
SELECT kanon_part_count(age, n), kanon_part_avg_x(age, n), kanon_part_avg_y(age, n), kanon_part_c2(age, n), kanon_part_m2_x(age, n), kanon_part_m2_y(age, n) FROM {p} WHERE city = 'Ems'

-- a part of an indicator
SELECT kanon_part_sum(CASE WHEN city = 'Ems' THEN 1000000 ELSE 1 END) FROM {p}

-- a part that one person dominates
SELECT kanon_part_sum(cost) FROM {p}

-- a part within a person
SELECT avg(x) FROM (SELECT pid, kanon_part_sum(amount) AS x FROM {v} WHERE kind = 'icu' GROUP BY pid) AS y

-- the guards themselves
SELECT kanon_cohort(pid) FROM {p}

-- the grouping id
SELECT city, __grouping_id FROM {p} GROUP BY ROLLUP (city)

-- a table of a third node
SELECT count(*) FROM alpha.patients

-- the federation within the federation
SELECT count(*) FROM federation.patients WHERE city = 'Ems'

-- settings for the site
SET kanon.min_cohort = 1

-- several statements under one ticket
SELECT 1; SELECT * FROM {p}

-- the site's policy for all of its tables
SELECT * FROM kanon.policies

-- the store
SELECT * FROM kanon.roles
