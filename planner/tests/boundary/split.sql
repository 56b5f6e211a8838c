-- filters, projections, CASE, casts, dates
SELECT count(*) FROM fed
SELECT sex, count(*), avg(age), avg(weight) FROM fed WHERE age > 50 GROUP BY sex ORDER BY 1
SELECT age/10*10 AS band, count(*) FROM fed GROUP BY 1
SELECT sex, count(*) FILTER (WHERE smoker), count(*) FROM fed GROUP BY sex HAVING count(*) > 20 ORDER BY 2 DESC LIMIT 3
SELECT sum(CASE WHEN age > 60 THEN 2 ELSE 1 END) FROM fed
SELECT CASE WHEN age > 60 THEN 'old' ELSE 'young' END AS who, avg(weight) FROM fed GROUP BY 1
SELECT avg(weight * 2 + 1), sum(bill), avg(bill), sum(-age), avg(ln(weight)) FROM fed
SELECT sum(age / weight), sum(age % 7), avg(sex::int) FROM fed
SELECT extract(year FROM born), count(*) FROM fed WHERE born > DATE '1950-01-01' GROUP BY 1
SELECT date_trunc('month', seen), count(*) FROM fed_visits WHERE seen >= TIMESTAMP '2020-02-03 04:05:06' GROUP BY 1
SELECT count(*) FROM fed WHERE sex LIKE 'm%' AND sex ~ '^m' AND upper(sex) IN ('M', 'F') OR NOT smoker
SELECT count(*) FROM fed WHERE age BETWEEN 30 AND 40 AND weight IS NOT NULL AND (smoker OR age > 35) AND bill < 10.50
SELECT count(*) FROM fed WHERE sex = 'it''s' OR sex = E'a\\b' OR weight > 1e300 OR weight < -0.00001 OR age = -5
SELECT * FROM (SELECT sex, count(*) AS n FROM fed GROUP BY sex) AS x WHERE n > 100
SELECT sum(y) FROM (SELECT CASE WHEN age > 60 THEN 2 ELSE 1 END AS y FROM fed) AS x
WITH c AS (SELECT sex, age FROM fed WHERE age > 18) SELECT sex, avg(age) FROM c GROUP BY sex
SELECT DISTINCT sex, region FROM fed
-- moments, and what cannot be merged
SELECT stddev(age), var_pop(weight), corr(age, weight), covar_samp(age, weight), regr_slope(weight, age), regr_count(weight, age) FROM fed
SELECT regr_r2(weight, age), regr_avgx(weight, age), regr_avgy(weight, age), regr_sxx(weight, age), regr_syy(weight, age), regr_sxy(weight, age), regr_intercept(weight, age) FROM fed
SELECT avg(age) FILTER (WHERE smoker), stddev_pop(age) FILTER (WHERE NOT smoker) FROM fed
SELECT bool_and(smoker), bool_or(age > 90) FROM fed
SELECT count(DISTINCT sex) FROM fed
SELECT median(age) FROM fed
SELECT sex, percentile_cont(0.25) WITHIN GROUP (ORDER BY age), approx_percentile_cont(0.9) WITHIN GROUP (ORDER BY weight DESC), count(DISTINCT region) FROM fed GROUP BY site, sex
-- grouping sets
SELECT sex, count(*) FROM fed GROUP BY ROLLUP (sex)
SELECT sex, region, count(*), grouping(sex) FROM fed GROUP BY CUBE (sex, region)
SELECT sex, region, avg(age) FROM fed GROUP BY GROUPING SETS ((sex), (region), ())
SELECT site, sex, count(*), grouping(site, sex) FROM fed GROUP BY ROLLUP (site, sex)
SELECT site, count(*) FROM fed GROUP BY ROLLUP (site)
SELECT sex, count(*) FROM fed GROUP BY GROUPING SETS ((site, sex), (sex, site), ())
SELECT smoker, age/10*10, count(*) FROM fed GROUP BY smoker, ROLLUP (age/10*10)
SELECT count(*) FROM fed GROUP BY GROUPING SETS (())
-- site
SELECT site, count(*) FROM fed GROUP BY site
SELECT site, sex, median(age) FROM fed GROUP BY site, sex
SELECT site, count(*) FROM fed WHERE site IN ('budapest', 'nowhere') GROUP BY site
SELECT count(*) FROM fed WHERE site = 'cleveland' AND age > 50
SELECT count(*) FROM fed WHERE site <> 'cleveland'
SELECT count(*) FROM fed WHERE site = 'cleveland' OR age > 50
SELECT count(*) FROM fed WHERE site = 'nowhere'
SELECT upper(site), count(*) FROM fed GROUP BY 1
SELECT count(*) FILTER (WHERE site = 'budapest') FROM fed
SELECT site FROM fed GROUP BY site
-- joins on the unit
SELECT f.sex, avg(v.cost) FROM fed f JOIN fed_visits v ON f.pid = v.pid GROUP BY f.sex
SELECT f.sex, count(v.pid) FROM fed f LEFT JOIN fed_visits v ON f.pid = v.pid AND v.kind = 'er' GROUP BY f.sex
SELECT count(*) FROM fed f, fed_visits v WHERE f.pid = v.pid AND v.kind = 'er' AND f.age > 60
SELECT count(*) FROM fed f JOIN fed_visits v ON f.pid = v.pid AND f.site = v.site
SELECT count(*) FROM fed f FULL JOIN fed_visits v ON f.pid = v.pid
SELECT a.sex, count(*) FROM fed a JOIN fed_visits b ON a.pid = b.pid JOIN fed_visits c ON b.pid = c.pid AND c.day > b.day GROUP BY a.sex
-- cohorts
SELECT sex, count(*) FROM fed WHERE pid IN (SELECT pid FROM fed_visits WHERE kind = 'er') GROUP BY sex
SELECT count(*) FROM fed WHERE pid NOT IN (SELECT pid FROM fed_visits WHERE kind = 'er') AND age > 3
SELECT count(*) FROM fed p WHERE EXISTS (SELECT 1 FROM fed_visits v WHERE v.pid = p.pid AND v.kind = 'er')
SELECT count(*) FROM fed p WHERE NOT EXISTS (SELECT 1 FROM fed_visits v WHERE v.pid = p.pid)
SELECT count(*) FROM fed WHERE pid IN (SELECT pid FROM fed_visits GROUP BY pid HAVING count(*) >= 3)
-- by the unit, windows
SELECT avg(n) FROM (SELECT pid, count(*) AS n FROM fed_visits GROUP BY pid) AS x
SELECT p.sex, avg(v.n) FROM fed p JOIN (SELECT pid, count(*) AS n, max(cost) AS c FROM fed_visits GROUP BY pid) AS v ON p.pid = v.pid GROUP BY p.sex
SELECT avg(n) FROM (SELECT pid, count(*) FILTER (WHERE kind = 'er') AS n FROM fed_visits GROUP BY pid) AS x
SELECT count(*) FROM (SELECT pid, row_number() OVER (PARTITION BY pid ORDER BY day) AS r FROM fed_visits) AS x WHERE r = 1
SELECT avg(d) FROM (SELECT pid, cost - lag(cost) OVER (PARTITION BY pid ORDER BY day) AS d FROM fed_visits) AS x
-- UNION ALL
SELECT count(*) FROM (SELECT pid, age FROM fed UNION ALL SELECT pid, n FROM fed_visits) AS x WHERE age > 3
SELECT k, count(*) FROM (SELECT pid, 'a' AS k FROM fed WHERE smoker UNION ALL SELECT pid, kind FROM fed_visits) AS x GROUP BY k
-- open tables
SELECT site, name, count(*), sum(size), min(size), avg(size) FROM fed_open WHERE size > 3 GROUP BY site, name
SELECT name, count(*), sum(size), avg(size), max(name), stddev(size), regr_r2(size, id) FROM fed_open GROUP BY name
SELECT site, name, count(*) FROM fed_open GROUP BY CUBE (site, name)
SELECT count(*) FROM (SELECT id FROM fed_open WHERE size > 3 UNION ALL SELECT id FROM fed_open) AS x
SELECT count(DISTINCT name) FROM fed_open
SELECT a.name, count(*) FROM fed_open a JOIN fed_open b ON a.id = b.id GROUP BY 1
SELECT "name" AS "a""b", count(*) AS "Select" FROM fed_open GROUP BY 1
-- rows that the query brings along; open tables are written out before
SELECT v.label, count(*) FROM fed f JOIN (VALUES ('m', 'men'), ('f', NULL)) AS v(code, label) ON f.sex = v.code GROUP BY 1
SELECT count(*) FROM fed WHERE age IN (SELECT column1 + 1 FROM (VALUES (1), (2)) AS v)
SELECT count(*) FROM fed f JOIN regions r ON f.region = r.id
SELECT count(*) FROM fed f JOIN fed_open r ON f.region = r.id
-- a condition on the site in one branch rules out that branch, not the site
SELECT count(*) FROM (SELECT pid, age FROM fed WHERE site = 'cleveland' UNION ALL SELECT pid, n FROM fed_visits) AS x
SELECT count(*) FROM (SELECT pid, age FROM fed WHERE site = 'cleveland' UNION ALL SELECT pid, n FROM fed_visits WHERE site = 'cleveland') AS x
-- private: parts, neither rounded nor cut, and two rounds for keys that are not public
SELECT sex, count(*), count(weight), avg(age), stddev(age) FROM fed_secret GROUP BY sex
SELECT sum(age), count(*) FILTER (WHERE smoker), regr_slope(age, age) FROM fed_secret
SELECT site, sex, count(DISTINCT pid), count(*) FROM fed_secret GROUP BY site, sex
SELECT region, site, count(*) FROM fed_secret GROUP BY region, site
SELECT region, smoker, count(*), avg(age) FROM fed_secret WHERE age > 18 GROUP BY region, smoker
SELECT DISTINCT region FROM fed_secret
SELECT count(DISTINCT pid) FROM fed_secret
SELECT count(*) FROM fed_secret s JOIN fed f ON s.pid = f.pid
-- what a site chose is its own; each grouping set is asked for itself
SELECT site, median(age), min(age) FILTER (WHERE smoker) FROM fed_secret GROUP BY site
SELECT min(age) FROM fed_secret
SELECT median(age) FROM fed_secret
SELECT site, sex, count(*) FROM fed_secret GROUP BY ROLLUP (site, sex)
-- quantiles from histograms, one an argument, beside what else is asked
SELECT sex, count(*), median(age), percentile_cont(0.9) WITHIN GROUP (ORDER BY age), median(LEAST(GREATEST(weight, 30), 150)) FILTER (WHERE smoker) FROM fed_secret GROUP BY sex
SELECT region, median(age) FROM fed_secret GROUP BY region
SELECT median(age), min(age) FROM fed_secret
SELECT median(weight) FROM fed_secret
