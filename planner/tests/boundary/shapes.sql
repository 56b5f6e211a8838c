-- filters, projections, CASE, casts, dates
SELECT count(*) FROM patients
SELECT sex, count(*), avg(age) FROM patients WHERE age > 50 GROUP BY sex ORDER BY 1
SELECT age/10*10 AS band, count(*) FROM patients GROUP BY 1
SELECT sex, count(*) FILTER (WHERE smoker), count(*) FROM patients GROUP BY sex HAVING count(*) > 20 ORDER BY 2 DESC LIMIT 3
SELECT sum(CASE WHEN age > 60 THEN 2 ELSE 1 END) FROM patients
SELECT CASE WHEN age > 60 THEN 'old' ELSE 'young' END AS who, avg(weight) FROM patients GROUP BY 1
SELECT avg(weight * 2 + 1), sum(bill), sum(-age), avg(ln(weight)) FROM patients
SELECT sum(age / weight), sum(age % 7), avg(sex::int) FROM patients
SELECT extract(year FROM born), count(*) FROM patients WHERE born > DATE '1950-01-01' GROUP BY 1
SELECT date_trunc('month', seen), count(*) FROM visits GROUP BY 1
SELECT count(*) FROM patients WHERE sex LIKE 'm%' AND sex ~ '^m' AND upper(sex) IN ('M', 'F')
SELECT * FROM (SELECT sex, count(*) AS n FROM patients GROUP BY sex) AS x WHERE n > 100
SELECT count(*) FROM (SELECT * FROM patients ORDER BY age) AS x
-- what a measure is made of is seen through inner queries
SELECT sum(y) FROM (SELECT CASE WHEN age > 60 THEN 2 ELSE 1 END AS y FROM patients) AS x
SELECT avg(y) FROM (SELECT age AS y FROM patients) AS x
WITH c AS (SELECT sex, age FROM patients WHERE age > 18) SELECT sex, avg(age) FROM c GROUP BY sex
-- counts
SELECT count(pid), count(DISTINCT pid), count(age), count(DISTINCT sex), count(1), count(sex, age) FROM patients
-- moments, quantiles
SELECT stddev(age), var_pop(weight), corr(age, weight), covar_samp(age, weight), regr_slope(weight, age), regr_count(weight, age) FROM patients
SELECT var(age), var_pop(age) FROM patients
SELECT median(age), percentile_cont(0.25) WITHIN GROUP (ORDER BY age), percentile_cont(0.25) WITHIN GROUP (ORDER BY age DESC) FROM patients
SELECT approx_percentile_cont(0.9) WITHIN GROUP (ORDER BY weight) FROM patients
SELECT bool_and(smoker), bool_or(age > 90) FROM patients
-- measure-only columns
SELECT sex, avg(chol), sum(chol * 2) FROM patients GROUP BY sex
SELECT avg(m) FROM (SELECT pid, avg(chol) AS m FROM patients GROUP BY pid) AS x
-- grouping sets
SELECT sex, count(*) FROM patients GROUP BY ROLLUP (sex)
SELECT sex, region, count(*), grouping(sex) FROM patients GROUP BY CUBE (sex, region)
SELECT sex, region, avg(age) FROM patients GROUP BY GROUPING SETS ((sex), (region), ())
-- joins with open tables
SELECT r.name, count(*) FROM patients p JOIN regions r ON p.region = r.id GROUP BY r.name
SELECT r.name, count(*) FROM patients p, regions r WHERE p.region = r.id AND r.size > 10 GROUP BY r.name
SELECT r.name, count(p.pid) FROM regions r LEFT JOIN patients p ON p.region = r.id GROUP BY r.name
SELECT r.name, count(*) FROM patients p LEFT JOIN regions r ON p.region = r.id GROUP BY r.name
SELECT count(*) FROM patients WHERE region IN (SELECT id FROM regions WHERE size > 5)
SELECT v.label, count(*) FROM patients p JOIN (VALUES ('m', 'men'), ('f', 'women')) AS v(code, label) ON p.sex = v.code GROUP BY 1
-- joins of protected tables on the unit
SELECT p.sex, count(*), avg(v.cost) FROM patients p JOIN visits v ON p.pid = v.pid GROUP BY p.sex
SELECT count(DISTINCT v.pid) FROM patients p, visits v WHERE p.pid = v.pid AND v.kind = 'er' AND p.age > 60
SELECT count(*) FROM patients JOIN visits USING (pid)
SELECT p.sex, count(v.pid) FROM patients p LEFT JOIN visits v ON p.pid = v.pid GROUP BY p.sex
SELECT count(*) FROM patients p FULL JOIN visits v ON p.pid = v.pid
SELECT count(*), sum(y) FROM patients p LEFT JOIN (SELECT pid, coalesce(n, 0) AS y FROM visits) AS v ON p.pid = v.pid
SELECT a.sex, count(*) FROM patients a JOIN visits b ON a.pid = b.pid JOIN visits c ON b.pid = c.pid AND c.day > b.day GROUP BY a.sex
-- cohorts
SELECT sex, count(*) FROM patients WHERE pid IN (SELECT pid FROM visits WHERE kind = 'er') GROUP BY sex
SELECT count(*) FROM patients WHERE pid NOT IN (SELECT pid FROM visits WHERE kind = 'er')
SELECT count(*) FROM patients p WHERE EXISTS (SELECT 1 FROM visits v WHERE v.pid = p.pid AND v.kind = 'er')
SELECT count(*) FROM patients p WHERE NOT EXISTS (SELECT 1 FROM visits v WHERE v.pid = p.pid)
SELECT count(*) FROM patients WHERE pid IN (SELECT pid FROM visits GROUP BY pid HAVING count(*) >= 3)
SELECT count(*) FROM (SELECT pid FROM patients INTERSECT SELECT pid FROM visits) AS x
SELECT count(*) FROM (SELECT pid FROM patients EXCEPT SELECT pid FROM visits) AS x
-- by the unit
SELECT avg(n) FROM (SELECT pid, count(*) AS n FROM visits GROUP BY pid) AS x
SELECT p.sex, avg(v.n) FROM patients p JOIN (SELECT pid, count(*) AS n, max(cost) AS c FROM visits GROUP BY pid) AS v ON p.pid = v.pid GROUP BY p.sex
SELECT avg(n) FROM (SELECT pid, count(*) FILTER (WHERE kind = 'er') AS n FROM visits GROUP BY pid) AS x
SELECT count(*) FROM (SELECT DISTINCT pid FROM visits WHERE kind = 'er') AS x
SELECT n, count(*) FROM (SELECT pid, count(*) AS n FROM visits GROUP BY pid) AS x GROUP BY n
-- windows within the unit
SELECT avg(gap) FROM (SELECT day - lag(day) OVER (PARTITION BY pid ORDER BY day) AS gap FROM visits) AS x
SELECT kind, count(*) FROM (SELECT kind, row_number() OVER (PARTITION BY pid ORDER BY day) AS r FROM visits) AS x WHERE r = 1 GROUP BY kind
-- union
SELECT count(*), avg(age) FROM (SELECT pid, age FROM patients UNION ALL SELECT pid, n FROM visits) AS x
SELECT count(*) FROM (SELECT pid, age FROM patients UNION ALL SELECT pid, age FROM patients WHERE age = 77) AS x
SELECT count(*) FROM (SELECT pid FROM patients UNION SELECT pid FROM visits) AS x
-- distinct keys
SELECT DISTINCT sex FROM patients
SELECT sex FROM patients GROUP BY sex
-- scalar subqueries are released first
SELECT count(*) FROM patients WHERE age > (SELECT avg(age) FROM patients)
SELECT (SELECT count(*) FROM patients), (SELECT avg(cost) FROM visits)
SELECT name, (SELECT count(*) FROM patients) FROM regions
-- above the boundary
SELECT a.sex, a.n, b.n FROM (SELECT sex, count(*) AS n FROM patients GROUP BY sex) AS a JOIN (SELECT sex, count(*) AS n FROM patients WHERE age > 50 GROUP BY sex) AS b ON a.sex = b.sex
SELECT sex, n, sum(n) OVER (ORDER BY sex) FROM (SELECT sex, count(*) AS n FROM patients GROUP BY sex) AS x
SELECT count(*) FROM patients UNION ALL SELECT count(*) FROM visits
SELECT max(n) FROM (SELECT region, count(*) AS n FROM patients GROUP BY region) AS x
SELECT r.name, x.n FROM regions r JOIN (SELECT region, count(*) AS n FROM patients GROUP BY region) AS x ON r.id = x.region
-- only open
SELECT * FROM regions WHERE size > 3
SELECT name, count(*) FROM regions GROUP BY name
WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT * FROM r
-- at sites
SELECT site, sex, count(*), avg(age) FROM fed WHERE age > 50 GROUP BY site, sex
SELECT f.sex, avg(v.cost) FROM fed f JOIN fed_visits v ON f.pid = v.pid GROUP BY f.sex
SELECT site, name, count(*), sum(size), min(size), avg(size) FROM fed_open WHERE size > 3 GROUP BY site, name
SELECT count(DISTINCT name) FROM fed_open
-- private access: quantiles, robust extremes, a release a grouping set
SELECT sex, median(age), min(age) FILTER (WHERE smoker), max(age + 1) FROM secret GROUP BY sex
SELECT sex, region, count(*), grouping(sex, region) FROM secret GROUP BY ROLLUP (sex, region) HAVING count(*) > 5
