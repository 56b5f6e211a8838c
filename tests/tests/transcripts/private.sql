-- Attempts on tables with private access. Each runs on a table with its target (pid 17) and on the same without it.
--
-- {p} patients, declared one row a person; {v} visits, several rows a person; {r} regions, an open table.
-- <<17:int8>> is a literal that is a parameter where the protocol has them.
-- "released:" says that the answer holds numbers with noise, behind so many columns of keys: the numbers may differ, and nothing else may.
-- Without it every byte must be the same.

-- # Rows and what stands for them

-- every column of every row
SELECT * FROM {p}

-- one column of one row
SELECT age FROM {p} WHERE pid = <<17:int8>>

-- a constant a row
SELECT 1 FROM {v}

-- the first row
SELECT age FROM {p} ORDER BY weight DESC LIMIT 1

-- different values
SELECT DISTINCT city FROM {p}

-- the unit in a condition
SELECT count(*) FROM {p} WHERE pid = <<17:int8>>

-- the unit in a range
SELECT count(*) FROM {p} WHERE pid BETWEEN <<16:int8>> AND <<18:int8>>

-- the unit in arithmetic
SELECT sum(pid) FROM {p}

-- an identifier
SELECT count(DISTINCT ssn) FROM {p}

-- an identifier in a condition
SELECT count(*) FROM {p} WHERE ssn = <<17:text>>

-- the unit beside an open table
SELECT count(*) FROM {p} p JOIN {r} r ON p.pid = r.id

-- people who are not in an open table
SELECT id FROM {r} WHERE id IN (SELECT pid FROM {p})

-- rows as a list
SELECT array_agg(age) FROM {p}

-- rows as a text
SELECT string_agg(code, ',') FROM {p}

-- whether anybody is there
SELECT EXISTS (SELECT 1 FROM {p} WHERE city = <<Ems:text>>)

-- a row as a scalar
SELECT (SELECT age FROM {p} WHERE city = <<Ems:text>>)

-- rows by a window
SELECT row_number() OVER (ORDER BY age) FROM {p}

-- a sum without bounds
SELECT sum(n) FROM {p}

-- the largest of a column without bounds
SELECT max(n) FROM {p}

-- whether all have it
SELECT bool_and(age < 100) FROM {p}

-- the first value
SELECT first_value(age ORDER BY weight) FROM {p}

-- quantiles of several places at once
SELECT approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY n) FROM {p}

-- # Numbers with noise

-- how many
-- released: 0
SELECT count(*) FROM {p}

-- how many visits, most of them the heavy one's
-- released: 0
SELECT count(*) FROM {v}

-- people with visits
-- released: 0
SELECT count(DISTINCT pid) FROM {v}

-- nobody passes
-- released: 0
SELECT count(*) FROM {p} WHERE age < <<-5:int8>>

-- the target alone passes
-- released: 0
SELECT count(*) FROM {p} WHERE age > <<1000:int8>>

-- the sum of what is out of bounds
-- released: 0
SELECT sum(age), avg(age) FROM {p} WHERE age > <<1000:int8>>

-- a sum over nobody
-- released: 0
SELECT sum(age), avg(age), count(age) FROM {p} WHERE code = <<nobody's:text>>

-- averages and deviations (correlations are NULL where the noise makes a variance zero)
-- released: 0
SELECT avg(weight), stddev(weight), var_pop(age), covar_pop(weight, age) FROM {p}

-- how many values are there
-- released: 0
SELECT count(weight), count(city), count(DISTINCT city) FROM {p}

-- sexes are public
-- released: 1
SELECT sex, count(*) FROM {p} GROUP BY sex

-- sexes are public, also where few have them
-- released: 1
SELECT sex, count(*), avg(age) FROM {p} WHERE city = <<Ems:text>> GROUP BY sex

-- keys that a query lists
-- released: 1
SELECT CASE WHEN city = 'Ems' THEN 'Ems' ELSE 'elsewhere' END, count(*) FROM {p} GROUP BY 1

-- a flag as a key
-- released: 1
SELECT age > <<1000:int8>>, count(*) FROM {p} GROUP BY 1

-- cities are selected
-- released: 1
SELECT city, count(*) FROM {p} GROUP BY city

-- the city of the target alone
-- released: 1
SELECT city, count(*) FROM {p} WHERE city > <<C:text>> GROUP BY city

-- rooms are selected
-- released: 1
SELECT room, count(*), sum(minutes) FROM {v} GROUP BY room

-- rooms that only few have, one of them the target
-- released: 1
SELECT room, count(*) FROM {v} WHERE room > <<r3:text>> GROUP BY room

-- two keys, one public
-- released: 2
SELECT sex, city, count(*) FROM {p} GROUP BY sex, city

-- in another order
-- released: 1
SELECT city, avg(weight) FROM {p} GROUP BY city ORDER BY city DESC

-- keys alone
SELECT city FROM {p} GROUP BY city

-- public keys alone
SELECT sex FROM {p} GROUP BY sex

-- a condition on what was released that always holds
-- released: 1
SELECT sex, count(*) FROM {p} GROUP BY sex HAVING count(*) > -1000000

-- and one that never does
SELECT sex, count(*) FROM {p} GROUP BY sex HAVING count(*) > 1000000000

-- no rows of the outer query
SELECT sex, count(*) FROM {p} GROUP BY sex LIMIT 0

-- a part of each
-- released: 0
SELECT count(*) FILTER (WHERE age > <<1000:int8>>), count(*) FILTER (WHERE city = 'Ems') FROM {p}

-- a join on the unit
-- released: 0
SELECT count(*), sum(v.minutes) FROM {p} p JOIN {v} v ON p.pid = v.pid

-- a join with itself, which makes squares of the heavy one's rows
-- released: 0
SELECT count(*) FROM {v} a JOIN {v} b ON a.pid = b.pid WHERE a.room = <<r1:text>>

-- people with a visit somewhere
-- released: 0
SELECT count(*) FROM {p} WHERE pid IN (SELECT pid FROM {v} WHERE minutes > <<500:int8>>)

-- people without one
-- released: 0
SELECT count(*) FROM {p} p WHERE NOT EXISTS (SELECT 1 FROM {v} v WHERE v.pid = p.pid)

-- an outer join
-- released: 0
SELECT count(*), count(v.minutes) FROM {p} p LEFT JOIN {v} v ON p.pid = v.pid

-- both tables in one
-- released: 0
SELECT count(*) FROM (SELECT pid FROM {p} UNION ALL SELECT pid FROM {v}) AS u

-- an open table beside
-- released: 0
SELECT count(*) FROM {p} p JOIN {r} r ON p.city = r.city

-- several releases in one statement
-- released: 0
SELECT (SELECT count(*) FROM {p} WHERE age > 40), (SELECT count(*) FROM {p} WHERE age > 50)

-- the same release twice in one statement
-- released: 0
SELECT (SELECT count(*) FROM {p} WHERE age > 41) AS a, (SELECT count(*) FROM {p} WHERE age > 41) AS b

-- one release in the condition of another
-- released: 0
SELECT count(*) FROM {p} WHERE age > (SELECT avg(age) FROM {p})

-- a median, where there is one
-- released: 0
SELECT median(age) FROM {p}

-- extremes, where there are any
-- released: 0
SELECT min(age), max(age) FROM {p}

-- totals, where there are any
-- released: 1
SELECT sex, count(*) FROM {p} GROUP BY ROLLUP (sex)

-- # Errors on chosen rows

-- by zero, for the target alone
-- released: 0
SELECT sum(LEAST(1, age / n)) FROM {p}

-- by zero in a condition
-- released: 0
SELECT count(*) FROM {p} WHERE <<100:int8>> / n > 5

-- by zero of what is nobody's
-- released: 0
SELECT count(100 / (age - 1000000000)) FROM {p}

-- a text that is no number
-- released: 0
SELECT count(*) FROM {p} WHERE CAST(code AS bigint) > <<5:int8>>

-- a text that is no date
-- released: 0
SELECT count(CAST(code AS date)) FROM {p}

-- an overflow
-- released: 0
SELECT count(age * 9223372036854775807) FROM {p}

-- a root of what is negative
-- released: 0
SELECT count(sqrt(weight - 100)) FROM {p}

-- a logarithm of zero
-- released: 0
SELECT count(*) FROM {p} WHERE ln(n) > 1

-- a regular expression of the data
-- released: 0
SELECT count(*) FROM {p} WHERE code ~ <<^[0-9]+$:text>>

-- by zero above the boundary, whatever the numbers are
SELECT 1 / (n - n) FROM (SELECT count(*) AS n FROM {p}) AS x

-- a bad cast above the boundary
SELECT CAST('x' || n AS bigint) IS NULL FROM (SELECT sex AS n, count(*) FROM {p} GROUP BY sex) AS x

-- # What the plan, the catalog and the session tell (once)

-- the plan
EXPLAIN SELECT city, count(*) FROM {p} GROUP BY city

-- the plan of what would leave
EXPLAIN (PRIVACY) SELECT room, count(*), avg(minutes) FROM {v} GROUP BY room

-- the plan of a join
EXPLAIN (PRIVACY) SELECT count(*) FROM {p} p JOIN {v} v ON p.pid = v.pid

-- the plan with figures of a run
EXPLAIN ANALYZE SELECT count(*) FROM {p}

-- the plan of what is refused
EXPLAIN (PRIVACY) SELECT sum(n) FROM {p}

-- statistics
SELECT * FROM pg_stats

-- row counts of the catalog
SELECT relname, reltuples, relpages FROM pg_class WHERE relname LIKE 'patients%' ORDER BY 1

-- sizes
SELECT pg_relation_size('{p}'), pg_total_relation_size('{v}')

-- policies
SELECT * FROM kanon.policies ORDER BY 1, 2, 3

-- columns and their bounds
SELECT * FROM kanon.columns ORDER BY 1, 2, 3, 4

-- units
SELECT * FROM kanon.privacy_units

-- budgets
SELECT * FROM kanon.budget

-- a writing statement
DELETE FROM {p} WHERE age > <<1000:int8>>

-- a column that is not there
SELECT count(*) FROM {p} WHERE nothing = 1

-- no epsilon
SET kanon.epsilon = 0

-- an epsilon that is no number
SET kanon.epsilon = 'NaN'
