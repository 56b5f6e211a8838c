-- Attempts to get at a row or a person. Each runs on a table with its target (pid 17) and on the same without it.
--
-- {p} patients, one row a person; {v} visits, several rows a person and some of nobody; {r} regions, an open table.
-- <<17:int8>> is a literal that is a parameter where the protocol has them.
-- "truth:" says the same in a form that does not fail where there are no rules.
-- Sections that are marked (once) make no sense as cursors, COPY and the like: they run over the simple and extended protocol and Flight SQL.
-- "cohorts:" gives the sizes of all cohorts behind what is released. Only where all of them hold k with the target and without it
-- may answers differ, and then each released number must be the true one.

-- # Rows as they are

-- every column of every row
SELECT * FROM {p}

-- every visit
SELECT * FROM {v}

-- the unit column
SELECT pid FROM {p}

-- an ordinary column
SELECT age FROM {p} WHERE city = <<Ems:text>>

-- one row by its unit
SELECT * FROM {p} WHERE pid = <<17:int8>>

-- one number of one row
SELECT cost FROM {p} WHERE pid = <<17:int8>>

-- TABLE is SELECT *
TABLE {p}

-- the first row
SELECT age FROM {p} LIMIT 1

-- the last row
SELECT age FROM {p} ORDER BY cost DESC LIMIT 1 OFFSET 0

-- FETCH FIRST instead of LIMIT
SELECT age FROM {p} ORDER BY cost DESC FETCH FIRST 1 ROWS ONLY

-- a constant for every row tells how many there are
SELECT 1 FROM {p}

-- no column for every row
SELECT FROM {p}

-- literals beside rows
SELECT 'x', age IS NULL FROM {p}

-- distinct values
SELECT DISTINCT pid FROM {p}

-- distinct persons in disguise
SELECT DISTINCT pid, sex FROM {p}

-- the first row of each sex
SELECT DISTINCT ON (sex) sex, age FROM {p} ORDER BY sex, cost DESC

-- rows through a CTE
WITH x AS (SELECT * FROM {p}) SELECT age FROM x

-- rows through a materialised CTE
WITH x AS MATERIALIZED (SELECT age, cost FROM {p} WHERE city = 'Ems') SELECT * FROM x

-- rows through UNION ALL with open ones
SELECT city FROM {r} UNION ALL SELECT city FROM {p}

-- rows through EXCEPT
SELECT city FROM {p} EXCEPT SELECT city FROM {r}

-- rows through INTERSECT
SELECT city FROM {r} INTERSECT SELECT city FROM {p}

-- rows in VALUES
SELECT * FROM (VALUES ((SELECT age FROM {p} WHERE pid = 17))) AS x(a)

-- a sample of rows
SELECT age FROM {p} TABLESAMPLE BERNOULLI (50)

-- a sample to count
SELECT count(*) FROM {p} TABLESAMPLE SYSTEM (10) REPEATABLE (1)

-- locked rows
SELECT age FROM {p} FOR UPDATE

-- only
SELECT age FROM ONLY {p}

-- the row as a value
SELECT {p} FROM {p}

-- system columns
SELECT ctid, tableoid, xmin FROM {p}

-- a row number for every row
SELECT row_number() OVER () FROM {p}

-- # Extremes and lists

-- the oldest
SELECT max(age) FROM {p}

-- the youngest and the dearest
SELECT min(age), max(cost) FROM {p}

-- the oldest by group
SELECT sex, max(age) FROM {p} GROUP BY sex

-- the oldest as a condition
SELECT count(*) FROM {p} WHERE age = (SELECT max(age) FROM {p})

-- all codes in a string
SELECT string_agg(code, ',') FROM {p}

-- all codes in a string, in order
SELECT string_agg(code, ',' ORDER BY cost DESC) FROM {p}

-- all ages in a list
SELECT array_agg(age) FROM {p}

-- all ages in a list, by group
SELECT city, array_agg(age ORDER BY pid) FROM {p} GROUP BY city

-- a list of subquery rows
SELECT ARRAY(SELECT age FROM {p})

-- rows as JSON
SELECT json_agg(x) FROM {p} AS x

-- some value
SELECT any_value(age) FROM {p}

-- the first value in an order
SELECT first_value(age ORDER BY cost DESC) FROM {p}

-- the last value
SELECT last_value(cost ORDER BY pid) FROM {p}

-- the nth value
SELECT nth_value(age, 1 ORDER BY cost DESC) FROM {p}

-- bits of one person
SELECT bit_or(age), bit_and(age), bit_xor(age) FROM {p} WHERE city = 'Ems'

-- xor over all cancels everybody but one
SELECT bit_xor(pid) FROM {p}

-- a sum over distinct values
SELECT sum(DISTINCT cost) FROM {p}

-- the mode
SELECT mode() WITHIN GROUP (ORDER BY age) FROM {p} WHERE city = 'Ems'

-- the smallest quantile is the minimum
SELECT percentile_cont(0) WITHIN GROUP (ORDER BY cost) FROM {p}

-- the largest quantile is the maximum
SELECT percentile_cont(1) WITHIN GROUP (ORDER BY cost) FROM {p}

-- close to the largest
SELECT percentile_cont(0.999) WITHIN GROUP (ORDER BY cost) FROM {p}

-- the largest from below
SELECT percentile_cont(0.001) WITHIN GROUP (ORDER BY cost DESC) FROM {p}

-- the approximate largest
SELECT approx_percentile_cont(1.0) WITHIN GROUP (ORDER BY cost) FROM {p}

-- the approximate largest with a weight
SELECT approx_percentile_cont_with_weight(cost, 1, 0.99) FROM {p}

-- a discrete quantile is somebody's value
SELECT percentile_disc(0.99) WITHIN GROUP (ORDER BY cost) FROM {p}

-- the median of few
SELECT median(cost) FROM {p} WHERE city = 'Ems'

-- the median of few by group
SELECT clinic, median(age) FROM {p} GROUP BY clinic HAVING count(*) < 5

-- an approximate median of few
SELECT approx_median(cost) FROM {p} WHERE clinic = 'C4'

-- an approximate count of distinct persons
SELECT approx_distinct(pid) FROM {p}

-- an approximate count of distinct values of few
SELECT approx_distinct(cost) FROM {p} WHERE city = 'Ems'

-- a quantile with a fraction that depends on the row
SELECT percentile_cont(age / 100.0) WITHIN GROUP (ORDER BY age) FROM {p}

-- # Small cohorts

-- one person
SELECT count(*) FROM {p} WHERE pid = <<17:int8>>

-- one person in a list
SELECT count(*) FROM {p} WHERE pid IN (<<17:int8>>, <<18:int8>>)

-- a range of persons
SELECT count(*) FROM {p} WHERE pid BETWEEN <<1:int8>> AND <<17:int8>>

-- persons up to one
SELECT count(*) FROM {p} WHERE pid < <<18:int8>>

-- persons by a digit
SELECT count(*) FROM {p} WHERE pid % <<1000:int8>> = <<17:int8>>

-- persons as text
SELECT count(*) FROM {p} WHERE CAST(pid AS text) LIKE <<17:text>>

-- persons through a column of another name
SELECT count(*) FROM (SELECT pid AS x, age FROM {p}) AS y WHERE x = 17

-- persons through NULLIF
SELECT count(nullif(pid, 17)) FROM {p}

-- persons through CASE
SELECT sum(CASE WHEN pid = 17 THEN age END) FROM {p}

-- a moment of one person that no microseconds reach, as text
SELECT count(*) FROM {p} WHERE ('x' || to_timestamp_seconds(CASE WHEN pid = 17 THEN 9000000000000000 ELSE 0 END)) <> ''

-- one person joined from VALUES
SELECT count(*) FROM {p} AS p JOIN (VALUES (17)) AS x(pid) ON p.pid = x.pid

-- one person joined by USING
SELECT count(*) FROM {p} JOIN (SELECT 17 AS pid) AS x USING (pid)

-- one person joined from a series
SELECT count(*) FROM {p} AS p JOIN generate_series(17, 17) AS g(n) ON p.pid = g.n

-- one person joined from an open table
SELECT count(*) FROM {p} AS p JOIN {r} AS r ON p.pid = r.id

-- one person IN VALUES
SELECT count(*) FROM {p} WHERE pid IN (VALUES (17))

-- one person IN a subquery without a table
SELECT count(*) FROM {p} WHERE pid IN (SELECT 17)

-- one person by ANY
SELECT count(*) FROM {p} WHERE pid = ANY (ARRAY[17])

-- groups of one person
SELECT pid, count(*) FROM {p} GROUP BY pid

-- groups of one person without the name
SELECT count(*) FROM {v} GROUP BY pid

-- groups by half a unit
SELECT pid / 2, count(*) FROM {p} GROUP BY 1

-- groups by a nearly unique column
SELECT ssn, count(*) FROM {p} GROUP BY ssn

-- groups by a column unique by accident
SELECT cost, count(*) FROM {p} GROUP BY cost

-- groups by two columns that are unique together
SELECT born, age, weight, count(*) FROM {p} GROUP BY born, age, weight

-- an identifier in a condition
SELECT count(*) FROM {p} WHERE ssn = <<SSN-17:text>>

-- distinct identifiers
SELECT count(DISTINCT ssn) FROM {p}

-- the few of one city
SELECT count(*) FROM {p} WHERE city = <<Ems:text>>

-- all measures of the few of one city
SELECT count(*), count(age), sum(age), avg(age), stddev(age), sum(cost), avg(cost) FROM {p} WHERE city = <<Ems:text>>

-- the few of one city by group
SELECT city, count(*), avg(age) FROM {p} WHERE city = 'Ems' GROUP BY city

-- groups of exactly few
SELECT city, count(*) FROM {p} GROUP BY city HAVING count(*) < 5

-- groups of one
SELECT city, count(*) FROM {p} GROUP BY city HAVING count(*) = 1

-- how many groups there are
SELECT count(*) FROM (SELECT city FROM {p} GROUP BY city) AS x

-- how many distinct cities there are, the rare ones too
-- cohorts: SELECT count(DISTINCT pid) FROM {p}
SELECT count(DISTINCT city) FROM {p}

-- names of groups only
SELECT city FROM {p} GROUP BY city

-- names of groups by DISTINCT
SELECT DISTINCT city FROM {p}

-- few beside one short of enough
SELECT clinic, count(*), sum(age) FROM {p} GROUP BY clinic

-- one short of enough
SELECT count(*), avg(age) FROM {p} WHERE clinic = <<C4:text>>

-- one more than enough: may be known
-- cohorts: SELECT count(DISTINCT pid) FROM {p} WHERE ward = 'W6'
SELECT count(*) AS n, avg(age) AS a FROM {p} WHERE ward = <<W6:text>>

-- all wards hold enough: may be known
-- cohorts: SELECT count(DISTINCT pid) FROM {p} GROUP BY ward
SELECT ward, count(*) AS n, avg(age) AS a FROM {p} GROUP BY ward

-- everybody: may be known
-- cohorts: SELECT count(DISTINCT pid) FROM {p}
SELECT count(*) AS n, avg(age) AS a, count(DISTINCT pid) AS u FROM {p}

-- everybody's visits: may be known
-- cohorts: SELECT count(DISTINCT pid) FROM {v} WHERE pid IS NOT NULL
SELECT count(*) AS n, count(DISTINCT pid) AS u FROM {v} WHERE pid IS NOT NULL

-- visits of nobody
SELECT count(*) FROM {v} WHERE pid IS NULL

-- whether somebody has no unit
-- cohorts: SELECT count(DISTINCT pid) FROM {v}
SELECT count(*) AS n, count(pid) AS u FROM {v} WHERE kind <> 'void'

-- visits of nobody by group
-- cohorts: SELECT count(DISTINCT pid) FROM {v} WHERE kind IN ('er', 'gp') GROUP BY kind
SELECT kind, count(*) FROM {v} GROUP BY kind

-- rare visits
SELECT count(*), sum(amount) FROM {v} WHERE kind = <<icu:text>>

-- enough rows, few persons
SELECT count(*) FROM {v} WHERE kind = 'icu' AND minutes > 0

-- enough rows by day, few persons
SELECT day, count(*) FROM {v} WHERE kind = 'icu' GROUP BY day

-- rows made many by a join
SELECT count(*) FROM {p} AS p CROSS JOIN generate_series(1, 100) AS g(n) WHERE city = 'Ems'

-- rows made many by a join with an open table
SELECT count(*) FROM {p} AS p CROSS JOIN {r} AS r WHERE p.city = 'Ems'

-- rows made many by UNION ALL
SELECT count(*), sum(age) FROM (SELECT * FROM {p} UNION ALL SELECT * FROM {p} UNION ALL SELECT * FROM {p}) AS x WHERE city = 'Ems'

-- rows made many by unnest
SELECT count(*) FROM (SELECT unnest([1, 2, 3, 4, 5, 6]) AS n, city FROM {p}) AS x WHERE city = 'Ems'

-- rows made many by joining visits
SELECT count(*) FROM {p} AS p JOIN {v} AS v ON p.pid = v.pid WHERE p.city = 'Ems'

-- a condition that is never true
SELECT count(*), sum(age) FROM {p} WHERE 1 = 0

-- a condition on data that is never true
SELECT count(*) FROM {p} WHERE age > <<1000:int8>>

-- a filter that is never true
-- cohorts: SELECT count(DISTINCT pid) FROM {p}
SELECT count(*) AS n, count(*) FILTER (WHERE age > 1000) AS f FROM {p}

-- a rare date
SELECT count(*) FROM {p} WHERE born = <<1901-02-03:date>>

-- a rare part of a date
SELECT extract(year FROM born) AS y, count(*) FROM {p} GROUP BY 1

-- a rare length of a text
SELECT count(*) FROM {p} WHERE length(code) > 10

-- rare texts as groups
SELECT code, count(*), avg(age) FROM {p} GROUP BY code

-- a rare NULL
SELECT count(*) FROM {p} WHERE note IS NULL

-- NULL as a group
SELECT note, count(*) FROM {p} GROUP BY note

-- everybody but the few: the target is not among them
-- cohorts: SELECT count(DISTINCT pid) FROM {p} WHERE city <> 'Ems'
SELECT count(*), avg(age), sum(weight) FROM {p} WHERE city <> <<Ems:text>>

-- NOT IN a list
SELECT count(*) FROM {p} WHERE pid NOT IN (<<17:int8>>)

-- NOT IN over a protected table
SELECT count(*) FROM {p} WHERE pid NOT IN (SELECT pid FROM {v} WHERE kind = 'icu')

-- open rows NOT IN a protected table
SELECT city FROM {r} WHERE city NOT IN (SELECT city FROM {p})

-- open rows IN a protected table
SELECT city FROM {r} WHERE city IN (SELECT city FROM {p} WHERE pid = 17)

-- open rows if somebody exists
SELECT id FROM {r} WHERE EXISTS (SELECT 1 FROM {p} WHERE pid = 17)

-- open rows if nobody exists
SELECT id FROM {r} WHERE NOT EXISTS (SELECT 1 FROM {p} WHERE age = 97)

-- open rows chosen by a join
SELECT r.city FROM {r} AS r LEFT JOIN {p} AS p ON p.city = r.city WHERE p.pid IS NULL

-- open rows chosen by a semi join
SELECT r.city FROM {r} AS r LEFT SEMI JOIN {p} AS p ON p.city = r.city

-- open rows chosen by a full join
SELECT r.city, p.city FROM {r} AS r FULL JOIN {p} AS p ON p.city = r.city

-- the few as a cohort
SELECT count(*) FROM {v} WHERE pid IN (SELECT pid FROM {p} WHERE city = 'Ems')

-- the few as a cohort by EXISTS
SELECT count(*), sum(amount) FROM {v} AS v WHERE EXISTS (SELECT 1 FROM {p} AS p WHERE p.pid = v.pid AND p.age = 97)

-- not the few as a cohort
-- cohorts: SELECT count(DISTINCT pid) FROM {v} AS v WHERE NOT EXISTS (SELECT 1 FROM {p} AS p WHERE p.pid = v.pid AND p.city = 'Ems')
SELECT count(*), sum(minutes) FROM {v} AS v WHERE NOT EXISTS (SELECT 1 FROM {p} AS p WHERE p.pid = v.pid AND p.city = 'Ems')

-- per person, then the heaviest
SELECT max(n) FROM (SELECT pid, count(*) AS n FROM {v} GROUP BY pid) AS x

-- per person, then a group of each number
SELECT n, count(*) FROM (SELECT pid, count(*) AS n FROM {v} GROUP BY pid) AS x GROUP BY n

-- per person, then the few
SELECT count(*) FROM (SELECT pid, sum(amount) AS s FROM {v} GROUP BY pid) AS x WHERE s > 10000

-- per person, then the first
SELECT avg(x) FROM (SELECT pid, max(amount) AS x FROM {v} WHERE kind = 'icu' GROUP BY pid) AS y

-- # Differences inside one answer

-- a count beside its complement
-- cohorts: SELECT count(DISTINCT pid) FROM {p}
SELECT count(*) AS n, count(*) FILTER (WHERE city <> 'Ems') AS rest FROM {p}

-- a count beside a count with a filter
-- cohorts: SELECT count(DISTINCT pid) FROM {p}
SELECT count(*) AS n, count(*) FILTER (WHERE city = 'Ems') AS f FROM {p}

-- a count beside a sum that counts the few twice
-- cohorts: SELECT count(DISTINCT pid) FROM {p}
SELECT count(*) AS n, sum(CASE WHEN city = 'Ems' THEN 2 ELSE 1 END) AS s FROM {p}

-- the sum that counts the few twice alone
SELECT sum(CASE WHEN city = 'Ems' THEN 2 ELSE 1 END) FROM {p}

-- the few as digits of a number
SELECT sum(CASE WHEN age = 97 THEN 1000000 ELSE 1 END) FROM {p}

-- an indicator times a value
SELECT sum(cost * (city = 'Ems')::int) FROM {p}

-- the average of a value times an indicator
SELECT avg(age * CASE WHEN city = 'Ems' THEN 1 ELSE 0 END) FROM {p}

-- an indicator by arithmetic without a comparison
SELECT sum(greatest(age - 96, 0)) FROM {p}

-- an indicator by division
SELECT sum(age / 97) FROM {p}

-- an indicator by modulo
SELECT sum(age % 97) FROM {p}

-- an indicator by a cast of a comparison
SELECT sum(CAST(age = 97 AS int)) FROM {p}

-- an indicator by floor
SELECT sum(floor(age / 97.0)) FROM {p}

-- an indicator by power
SELECT sum(power(0, abs(age - 97))) FROM {p}

-- an indicator by sign
SELECT sum(signum(age - 96)) FROM {p}

-- an indicator by COALESCE
SELECT sum(coalesce(note, 1000000)) FROM {p}

-- an indicator by NULLIF
SELECT count(nullif(city, 'Ems')) FROM {p}

-- an indicator by LIKE
SELECT count(*) FILTER (WHERE city LIKE 'E%') FROM {p}

-- an indicator by a regular expression
SELECT count(*) FILTER (WHERE city ~ '^E') FROM {p}

-- an indicator by the length of a text
-- cohorts: SELECT count(DISTINCT pid) FROM {p} GROUP BY length(city)
SELECT sum(length(city)) FROM {p}

-- an indicator by the place of a letter
SELECT sum(strpos(city, 'E')) FROM {p}

-- whether anybody has it
SELECT bool_or(city = 'Ems') FROM {p}

-- whether anybody has it, of one value
SELECT bool_or(age = <<97:int8>>), bool_and(age < 97) FROM {p}

-- whether everybody has not
SELECT every(age < 97) FROM {p}

-- a correlation with an indicator
SELECT corr(cost, CASE WHEN city = 'Ems' THEN 1.0 ELSE 0.0 END) FROM {p}

-- a regression on an indicator
SELECT regr_slope(cost, CASE WHEN city = 'Ems' THEN 1 ELSE 0 END), regr_intercept(cost, CASE WHEN city = 'Ems' THEN 1 ELSE 0 END) FROM {p}

-- a covariance with an indicator
SELECT covar_pop(age, CASE WHEN city = 'Ems' THEN 1 ELSE 0 END) FROM {p}

-- a count of pairs with a rare NULL
SELECT regr_count(note, age), regr_avgx(age, note) FROM {p}

-- a count beside a count of the values
-- cohorts: SELECT count(DISTINCT pid) FROM {p}
SELECT count(*) AS n, count(note) AS v FROM {p}

-- a sum that leaves out the rare NULL beside one that does not
SELECT sum(note), sum(coalesce(note, 0)) FROM {p}

-- an average beside the sum
SELECT avg(note), sum(note) FROM {p}

-- two variances give a count
SELECT var_samp(note), var_pop(note) FROM {p}

-- the variance of two persons
SELECT var_samp(age), stddev(age) FROM {p} WHERE city = 'Zug'

-- the variance of few by group
SELECT city, var_pop(cost) FROM {p} WHERE age >= 96 GROUP BY city

-- distinct values with and without the few
-- cohorts: SELECT count(DISTINCT pid) FROM {p}
SELECT count(DISTINCT age) AS a, count(DISTINCT age) FILTER (WHERE city <> 'Ems') AS b FROM {p}

-- distinct measure values
-- cohorts: SELECT count(DISTINCT pid) FROM {p}
SELECT count(DISTINCT lab) FROM {p}

-- a measure in a condition
SELECT count(*) FROM {p} WHERE lab > <<990:float8>>

-- a measure in a filter
SELECT count(*) FILTER (WHERE lab > 990) FROM {p}

-- a measure as a group
SELECT lab, count(*) FROM {p} GROUP BY lab

-- a measure in HAVING is a measure: the average of few
SELECT city, avg(lab) FROM {p} GROUP BY city HAVING avg(lab) > 900

-- a measure in CASE
SELECT sum(CASE WHEN lab > 990 THEN 1 ELSE 0 END) FROM {p}

-- a measure in ORDER BY of an aggregate
SELECT avg(age ORDER BY lab) FROM {p}

-- the sum that one person dominates
SELECT sum(cost), avg(cost) FROM {p}

-- the sum that one person dominates, by group
SELECT sex, sum(cost) FROM {p} WHERE ward <> 'W1' GROUP BY sex

-- the sum that one person dominates with its sign changed
SELECT sum(-cost), sum(cost - 5) FROM {p}

-- the sum of squares that one person dominates
SELECT sum(cost * cost) FROM {p}

-- the visits' sum that one person dominates
SELECT sum(amount), avg(amount) FROM {v} WHERE amount > 0

-- totals with ROLLUP
SELECT clinic, count(*) FROM {p} WHERE ward <> 'W6' GROUP BY ROLLUP (clinic)

-- totals minus groups with ROLLUP
-- cohorts: SELECT count(DISTINCT pid) FROM {p}
SELECT city, count(*) AS n FROM {p} GROUP BY ROLLUP (city) HAVING city IS NULL

-- all totals with CUBE
-- cohorts: SELECT count(DISTINCT pid) FROM {p} GROUP BY sex UNION ALL SELECT count(DISTINCT pid) FROM {p}
SELECT sex, city, count(*) AS n FROM {p} GROUP BY CUBE (sex, city) HAVING city IS NULL

-- grouping sets that overlap
-- cohorts: SELECT count(DISTINCT pid) FROM {p} WHERE city <> 'Bern' AND age > 95
SELECT sex, city, clinic, count(*) FROM {p} WHERE city <> 'Bern' AND age > 95 GROUP BY GROUPING SETS ((sex, city), (city, clinic), (sex), ())

-- the sum of what was released beside the total
-- cohorts: SELECT count(DISTINCT pid) FROM {p}
SELECT (SELECT count(*) FROM {p}) - (SELECT sum(n) FROM (SELECT city, count(*) AS n FROM {p} GROUP BY city) AS x WHERE n > 0) * 0 AS n

-- a difference of two answers about the few
SELECT (SELECT count(*) FROM {p} WHERE city = 'Ems') - (SELECT count(*) FROM {p} WHERE city = 'Ems' AND pid IN (SELECT pid FROM {v}))

-- the share of the few
SELECT avg(CASE WHEN city = 'Ems' THEN 1.0 ELSE 0.0 END) FROM {p}

-- nested aggregates
SELECT max(avg(age)) FROM {p} GROUP BY city

-- an aggregate of answers: the largest of the released
SELECT max(n) FROM (SELECT city, count(*) AS n FROM {p} WHERE ward <> 'W6' GROUP BY city) AS x

-- a window over answers of the few
SELECT clinic, count(*) AS n, sum(count(*)) OVER () FROM {p} WHERE clinic IN ('C4', 'C9') GROUP BY clinic

-- # Errors on chosen rows

-- a division by zero
SELECT count(*) FROM {p} WHERE 1 / n > 0

-- a division by zero in the answer
SELECT sum(1 / n) FROM {p}

-- a division by zero on one person
-- cohorts: SELECT count(DISTINCT pid) FROM {p} WHERE age <> 97
-- truth: SELECT count(*) FROM {p} WHERE age <> 97
SELECT count(*) FROM {p} WHERE CASE WHEN age = 97 THEN 1 / (age - 97) ELSE 1 END = 1

-- a remainder by zero
SELECT sum(age % n) FROM {p} WHERE city = 'Ems'

-- a cast of a text that is no number
SELECT sum(CAST(code AS int)) FROM {p}

-- a cast that fails in a condition
SELECT count(*) FROM {p} WHERE code::int > 0

-- a cast that fails for one person only
-- cohorts: SELECT count(DISTINCT pid) FROM {p} WHERE city <> 'Ems'
-- truth: SELECT count(*) FROM {p} WHERE city <> 'Ems'
SELECT count(*) FROM {p} WHERE CASE WHEN city = 'Ems' THEN CAST(city AS int) ELSE 1 END = 1

-- a cast of a text that is no date
SELECT count(*) FROM {p} WHERE CAST(code AS date) > '2000-01-01'

-- a cast of a text that is no time
SELECT count(*) FROM {p} WHERE to_timestamp(code) IS NOT NULL AND city = 'Ems'

-- a cast of a text that is no truth
SELECT count(*) FROM {p} WHERE CAST(code AS boolean)

-- a number too large for its type
SELECT sum(CAST(big AS int)) FROM {p}

-- an overflow by a sum
SELECT sum(big) FROM {p}

-- an overflow by a product
SELECT sum(big * 2) FROM {p}

-- an overflow by an addition in a condition
SELECT count(*) FROM {p} WHERE big + <<1:int8>> > 0

-- an overflow by negation
SELECT count(*) FROM {p} WHERE -(-big - 1) > 0 AND city = 'Ems'

-- an overflow of abs
SELECT sum(abs(-big - 1)) FROM {p} WHERE age > 95

-- a root of a negative number
SELECT sum(sqrt(96 - age)) FROM {p}

-- a logarithm of zero
SELECT sum(ln(n)) FROM {p}

-- a logarithm of a negative number in a condition
-- cohorts: SELECT count(DISTINCT pid) FROM {p} WHERE age > 95
SELECT count(*) FROM {p} WHERE ln(96 - age) IS NOT NULL AND age > 95

-- a huge exponent
SELECT sum(exp(age * 10)) FROM {p}

-- a huge power
SELECT sum(power(age, 400)) FROM {p} WHERE city = 'Ems'

-- infinity minus infinity
SELECT sum(exp(age * 10) - exp(age * 10)) FROM {p}

-- an average that is NaN for one person
SELECT avg(ln(96 - age)) FROM {p} WHERE age > 95

-- a factorial of a large number
SELECT sum(factorial(age)) FROM {p} WHERE city = 'Ems'

-- a date that does not exist
SELECT count(*) FROM {p} WHERE make_date(2023, 2, age) IS NOT NULL

-- a date beyond all dates
SELECT count(*) FROM {p} WHERE born + CAST(big AS int) * INTERVAL '1 day' > born

-- a pattern out of the data
SELECT count(*) FROM {p} WHERE city ~ code

-- a LIKE pattern out of the data
SELECT count(*) FROM {p} WHERE 'Ems' LIKE city

-- a pattern that is not one
SELECT count(*) FROM {p} WHERE city ~ '('

-- a substring of negative length
SELECT count(*) FROM {p} WHERE substr(city, 1, 96 - age) = ''

-- a repetition without end
SELECT count(*) FROM {p} WHERE length(repeat(city, age * 1000)) > 0

-- padding without end
SELECT count(*) FROM {p} WHERE lpad(city, age * 1000, 'x') <> ''

-- an array bound out of the data
SELECT sum((ARRAY[1, 2, 3])[age]) FROM {p}

-- an array of a row
SELECT count(*) FROM {p} WHERE array_length(make_array(age)) = 1

-- a character that does not exist
SELECT count(*) FROM {p} WHERE chr(big) = 'x'

-- a time zone out of the data
SELECT count(*) FROM {p} WHERE CAST(born AS timestamp) AT TIME ZONE city IS NOT NULL

-- a format out of the data
SELECT count(*) FROM {p} WHERE to_char(born, code) = 'x'

-- a field out of the data
SELECT count(*) FROM {p} WHERE date_part(code, born) = 1

-- an encoding that fails
SELECT count(*) FROM {p} WHERE decode(code, 'hex') IS NOT NULL

-- two rows where one is expected
SELECT (SELECT age FROM {p} WHERE city = 'Ems')

-- two groups where one is expected
SELECT (SELECT count(*) FROM {p} WHERE ward <> 'W6' AND city <> 'Ems' GROUP BY sex)

-- an error above the boundary that depends on a released number of the few
SELECT 1 / count(*) FROM {p} WHERE city = 'Ems'

-- an error above the boundary if a group exists
SELECT 1 / (count(*) - count(*)) FROM {p} WHERE clinic = 'C4' GROUP BY clinic

-- an error above the boundary quotes a key
SELECT CAST(city AS int) FROM {p} WHERE city = 'Ems' GROUP BY city

-- an error raised by an assertion on the few
SELECT CASE WHEN count(*) > 2 THEN 1 / 0 ELSE 0 END FROM {p} WHERE city = 'Ems'

-- an error at a position that is named
SELECT count(*) FROM {p} WHERE age = 'Ems'

-- an unknown column with a hint about columns
SELECT agee FROM {p}

-- an unknown column that quotes values
SELECT "Ems" FROM {p} WHERE city = "Ems"

-- an unknown function on rows
SELECT leak(age) FROM {p}

-- an unknown table
SELECT * FROM {p}_private

-- an ambiguous column
SELECT count(age) FROM {p} AS a JOIN {p} AS b ON a.pid = b.pid

-- a text that is cut off
SELECT count(*) FROM {p} WHERE city = 'Ems

-- an endless condition
SELECT count(*) FROM {p} WHERE ((((((((((age = 97

-- a timeout on rows
SET statement_timeout = 100000; SELECT age FROM {p}

-- without a timeout again
SET statement_timeout = 0

-- # Subqueries, windows, recursion

-- a correlated scalar subquery
SELECT r.city, (SELECT count(*) FROM {p} AS p WHERE p.city = r.city) FROM {r} AS r

-- a correlated scalar subquery over visits
SELECT count(*) FROM {p} AS p WHERE age > (SELECT avg(minutes) FROM {v} AS v WHERE v.pid = p.pid)

-- a correlated EXISTS on something other than the unit
SELECT count(*) FROM {p} AS p WHERE EXISTS (SELECT 1 FROM {v} AS v WHERE v.minutes = p.age)

-- EXISTS without correlation
SELECT count(*) FROM {p} WHERE EXISTS (SELECT 1 FROM {v} WHERE kind = 'icu' AND amount > 10000)

-- LATERAL rows
SELECT r.city, x.age FROM {r} AS r, LATERAL (SELECT age FROM {p} AS p WHERE p.city = r.city) AS x

-- LATERAL counts
SELECT r.city, x.n FROM {r} AS r CROSS JOIN LATERAL (SELECT count(*) AS n FROM {p} AS p WHERE p.city = r.city) AS x

-- recursion over rows
WITH RECURSIVE x AS (SELECT age FROM {p} UNION ALL SELECT age + 1 FROM x WHERE age < 3) SELECT count(*) FROM x

-- recursion that asks again and again
WITH RECURSIVE x(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM x WHERE n < (SELECT count(*) FROM {p} WHERE age = 97)) SELECT max(n) FROM x

-- a window over all rows
SELECT sum(age) OVER () FROM {p}

-- a running sum below an aggregate
SELECT avg(s) FROM (SELECT sum(cost) OVER (ORDER BY pid) AS s FROM {p}) AS x

-- a rank by a value below an aggregate
SELECT avg(cost) FROM (SELECT cost, rank() OVER (ORDER BY cost DESC) AS k FROM {p}) AS x WHERE k = 1

-- a rank within a city
SELECT avg(age) FROM (SELECT age, row_number() OVER (PARTITION BY city ORDER BY cost DESC) AS k FROM {p}) AS x WHERE k = 1

-- a window by the person that picks one visit of few
SELECT sum(amount) FROM (SELECT amount, kind, row_number() OVER (PARTITION BY pid ORDER BY amount DESC) AS k FROM {v}) AS x WHERE k = 1 AND kind = 'icu'

-- a neighbour's value
SELECT avg(x) FROM (SELECT lag(cost) OVER (PARTITION BY sex ORDER BY cost) AS x FROM {p}) AS y

-- LIMIT below an aggregate
SELECT avg(age), sum(cost) FROM (SELECT age, cost FROM {p} ORDER BY cost DESC LIMIT 1) AS x

-- OFFSET below an aggregate
SELECT sum(cost) FROM (SELECT cost FROM {p} ORDER BY cost OFFSET 50) AS x

-- LIMIT that depends on rows
SELECT city FROM {r} LIMIT (SELECT count(*) FROM {p} WHERE city = 'Ems')

-- ORDER BY that depends on rows
SELECT city FROM {r} ORDER BY (SELECT age FROM {p} WHERE pid = 17)

-- ORDER BY that depends on the few
SELECT id FROM {r} ORDER BY id * (SELECT count(*) FROM {p} WHERE age = 97)

-- a condition that depends on the few
SELECT id FROM {r} WHERE id > (SELECT count(*) FROM {p} WHERE age = 97)

-- a condition below the boundary that depends on the few
SELECT count(*) FROM {p} WHERE city <> 'Ems' AND age > (SELECT count(*) FROM {p} WHERE city = 'Ems')

-- ANY over rows
SELECT id FROM {r} WHERE id = ANY (SELECT age FROM {p})

-- ALL over rows
SELECT id FROM {r} WHERE id < ALL (SELECT age FROM {p})

-- generate_series as long as a row says
SELECT count(*) FROM {p} AS p, generate_series(1, p.age) AS g(n)

-- generate_series as long as the few are many
SELECT count(*) FROM generate_series(1, (SELECT count(*) FROM {p} WHERE city = 'Ems')) AS g(n)

-- unnest of rows
SELECT unnest(array_agg(age)) FROM {p}

-- a subquery in FILTER
SELECT count(*) FILTER (WHERE pid IN (SELECT pid FROM {v} WHERE kind = 'icu')) FROM {p}

-- a subquery in CASE
SELECT sum(CASE WHEN EXISTS (SELECT 1 FROM {v} AS v WHERE v.pid = p.pid AND kind = 'icu') THEN 1 ELSE 0 END) FROM {p} AS p

-- a join of persons that are not equal
SELECT count(*) FROM {p} AS a JOIN {p} AS b ON a.cost > b.cost

-- a join of persons on a value
SELECT count(*) FROM {p} AS a JOIN {p} AS b ON a.age = b.age WHERE a.city = 'Ems'

-- a join with an open table on a rare value
SELECT count(*) FROM {p} AS p JOIN {r} AS r ON p.city = r.city WHERE r.id = 1

-- an outer join keeps whom nobody matched
-- cohorts: SELECT count(DISTINCT pid) FROM {p} WHERE age > 95
SELECT count(*) AS n, count(v.pid) AS m FROM {p} AS p LEFT JOIN {v} AS v ON p.pid = v.pid AND v.kind = 'icu' WHERE p.age > 95

-- an outer join of an open table with counts of rows
SELECT r.city, count(p.pid) FROM {r} AS r LEFT JOIN {p} AS p ON p.city = r.city GROUP BY r.city

-- # What the plan, the catalog and the session tell (once)

-- EXPLAIN
EXPLAIN SELECT count(*) FROM {p} WHERE city = 'Ems'

-- EXPLAIN of rows
EXPLAIN SELECT * FROM {p} WHERE pid = 17

-- EXPLAIN with its costs
EXPLAIN (COSTS, VERBOSE) SELECT city, count(*) FROM {p} GROUP BY city

-- EXPLAIN in JSON
EXPLAIN (FORMAT JSON) SELECT count(*) FROM {p}

-- EXPLAIN ANALYZE
EXPLAIN ANALYZE SELECT count(*) FROM {p} WHERE city = 'Ems'

-- EXPLAIN ANALYZE of rows
EXPLAIN (ANALYZE, VERBOSE) SELECT age FROM {p}

-- EXPLAIN (PRIVACY)
EXPLAIN (PRIVACY) SELECT city, count(*), avg(cost) FROM {p} GROUP BY city

-- EXPLAIN (PRIVACY) of rows
EXPLAIN (PRIVACY) SELECT * FROM {p}

-- the row count that the catalog holds
SELECT relname, reltuples, relpages FROM pg_class WHERE relname LIKE 'p%' OR relname LIKE 'v%' ORDER BY 1

-- statistics of columns
SELECT * FROM pg_stats

-- statistics of columns as stored
SELECT count(*) FROM pg_catalog.pg_statistic

-- activity on tables
SELECT relname, n_live_tup, seq_scan FROM pg_stat_user_tables

-- sizes of tables
SELECT pg_relation_size('patients'), pg_total_relation_size('visits'), pg_table_size('patients')

-- the size of the database
SELECT pg_database_size('kanon')

-- privileges
SELECT has_table_privilege('patients', 'SELECT'), has_column_privilege('patients', 'pid', 'SELECT')

-- columns
SELECT table_name, column_name, data_type, is_nullable, character_maximum_length FROM information_schema.columns ORDER BY 1, 2

-- tables
SELECT table_name, table_type FROM information_schema.tables ORDER BY table_schema, table_name

-- attributes
SELECT a.attname, a.attnotnull, a.attlen, a.atthasdef FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace ORDER BY n.nspname, c.relname, a.attnum

-- the node's columns
SELECT site, table_name, column_name, data_type, nullable, role, lower, upper, domain FROM kanon.columns ORDER BY 1, 2, 3

-- the node's tables
SELECT catalog, schema_name, table_name, site, kind, description, access FROM kanon.catalogs ORDER BY 2, 3, 4

-- the node's policies
SELECT * FROM kanon.policies

-- the policy in words
SELECT kanon.explain_policy('{p}')

-- the last query
SELECT * FROM kanon.last_query

-- who I am
SELECT * FROM kanon.whoami()

-- other sessions' queries
SELECT query FROM pg_stat_activity WHERE query LIKE '%17%' AND usename <> current_user

-- open cursors
SELECT * FROM pg_cursors

-- the file behind a table
SELECT input_file_name() FROM {p}

-- the file as a table
SELECT * FROM 'beta/patients.csv'

-- a function that reads files
SELECT * FROM read_csv('patients.csv')

-- a function that reads Parquet's statistics
SELECT * FROM parquet_metadata('patients.parquet')

-- a function that reads the server's files
SELECT pg_read_file('patients.csv')

-- a function that lists the server's files
SELECT pg_ls_dir('.')

-- a query in a text
SELECT query_to_xml('SELECT * FROM patients', true, false, '')

-- a table in a text
SELECT table_to_xml('patients', true, false, '')

-- another database by dblink
SELECT * FROM dblink('dbname=kanon', 'SELECT pid FROM patients') AS x(pid bigint)

-- a large object
SELECT lo_import('patients.csv')

-- settings of the engine
SET datafusion.execution.target_partitions = 1

-- one setting of the engine
SHOW datafusion.execution.batch_size

-- all settings
SHOW ALL

-- the engine's settings as a table
SELECT name, value FROM information_schema.df_settings

-- metrics of the engine
EXPLAIN ANALYZE VERBOSE SELECT count(*) FROM {p}

-- threads of the node
SELECT pg_sleep(0), pg_backend_pid() IS NOT NULL

-- the steward's setting: no minimum
SET kanon.min_cohort = 1

-- another cohort size for one table
ALTER TABLE {p} SET (min_cohort = 2)

-- another access for one table
ALTER TABLE {p} SET (access = 'open')

-- # Writing (once)

-- insert rows elsewhere
INSERT INTO {r} SELECT pid, city, age FROM {p}

-- insert and see
INSERT INTO {p} (pid) VALUES (17) RETURNING *

-- update and see
UPDATE {p} SET age = age WHERE pid = 17 RETURNING age

-- delete and count
DELETE FROM {p} WHERE pid = 17

-- merge
MERGE INTO {r} USING {p} ON {r}.id = {p}.pid WHEN MATCHED THEN DELETE

-- a copy as a table
CREATE TABLE leak AS SELECT * FROM {p}

-- a copy as a temporary table
CREATE TEMP TABLE leak AS SELECT * FROM {p}

-- SELECT INTO
SELECT * INTO leak FROM {p}

-- a view
CREATE VIEW leak AS SELECT * FROM {p}

-- a function
CREATE FUNCTION leak() RETURNS bigint AS 'SELECT pid FROM patients' LANGUAGE sql

-- a block
DO $$ BEGIN PERFORM * FROM patients; END $$

-- another table over the same file
CREATE EXTERNAL TABLE leak STORED AS CSV LOCATION 'patients.csv'

-- an index
CREATE UNIQUE INDEX leak ON {p} (age)

-- a constraint that only holds without the target
ALTER TABLE {p} ADD CHECK (age < 97)

-- a grant to oneself
GRANT SELECT ON {p} TO ana

-- the steward's role
GRANT steward TO ana

-- another user
SET ROLE root

-- another session user
SET SESSION AUTHORIZATION root

-- a copy into a file
COPY {p} TO '/tmp/kanon-leak.csv'

-- a copy of a query into a file
COPY (SELECT * FROM {p}) TO '/tmp/kanon-leak.csv' WITH (FORMAT csv)

-- a copy into a program
COPY {p} TO PROGRAM 'cat'

-- a copy to the client
COPY {p} TO STDOUT

-- a copy of columns to the client
COPY {p} (pid, age) TO STDOUT WITH (FORMAT csv, HEADER)

-- a copy of rows to the client
COPY (SELECT * FROM {p} WHERE pid = 17) TO STDOUT (FORMAT binary)

-- a copy into a table
COPY {p} FROM STDIN

-- truncate
TRUNCATE {p}

-- statistics by ANALYZE
ANALYZE {p}

-- a lock
LOCK TABLE {p}

-- # Several statements (once)

-- rows behind a harmless statement
SELECT 1; SELECT * FROM {p}

-- rows behind a harmless answer
SELECT count(*) FROM {r}; SELECT age FROM {p} WHERE pid = 17; SELECT 2

-- a cursor by hand
BEGIN; DECLARE leak CURSOR FOR SELECT * FROM {p}; FETCH ALL FROM leak; ROLLBACK

-- a cursor that runs backwards over the few
BEGIN; DECLARE leak SCROLL CURSOR FOR SELECT city, count(*) FROM {p} GROUP BY city; MOVE LAST FROM leak; FETCH PRIOR FROM leak; ROLLBACK

-- a prepared statement by hand
PREPARE leak(bigint) AS SELECT * FROM {p} WHERE pid = $1; EXECUTE leak(17); DEALLOCATE leak

-- a comment hides the rest
SELECT count(*) FROM {p} WHERE city = 'Ems' -- AND 1 = 0

-- a savepoint keeps an error
BEGIN; SAVEPOINT a; SELECT 1 / n FROM {p}; ROLLBACK TO a; SELECT age FROM {p}; ROLLBACK
