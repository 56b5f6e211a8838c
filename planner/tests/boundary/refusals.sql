-- rows
SELECT * FROM patients
SELECT sex, age FROM patients WHERE age > 50
SELECT pid FROM patients
SELECT p.sex, v.day FROM patients p JOIN visits v ON p.pid = v.pid
SELECT pid, count(*) FROM visits GROUP BY pid
SELECT row_number() OVER (PARTITION BY pid ORDER BY day) FROM visits
SELECT DISTINCT pid, sex FROM patients
SELECT name FROM regions WHERE id IN (SELECT region FROM patients)
SELECT name FROM regions WHERE EXISTS (SELECT 1 FROM patients)
SELECT name, (SELECT age FROM patients WHERE age = 77) FROM regions
SELECT name FROM regions ORDER BY (SELECT max(age) FROM patients)
SELECT name FROM regions LIMIT (SELECT count(*) FROM (SELECT ssn FROM patients GROUP BY ssn) AS x)
SELECT count(*) FILTER (WHERE id IN (SELECT region FROM patients)) FROM regions
SELECT r.name FROM regions r LEFT SEMI JOIN patients p ON p.region = r.id
SELECT r.name FROM regions r LEFT ANTI JOIN patients p ON p.region = r.id
SELECT name FROM regions UNION ALL SELECT sex FROM patients
SELECT * FROM (VALUES ((SELECT age FROM patients))) AS x
SELECT sex FROM patients LIMIT 1
-- units
SELECT count(*) FROM patients WHERE pid = 17
SELECT count(*) FROM patients WHERE pid IN (17, 18)
SELECT count(*) FROM patients WHERE pid % 1000 = 7
SELECT count(*) FROM patients WHERE pid > 100
SELECT sum(pid) FROM patients
SELECT pid % 10, count(*) FROM patients GROUP BY 1
SELECT count(*) FROM patients p JOIN (VALUES (17)) AS v(x) ON p.pid = v.x
SELECT count(*) FROM patients WHERE pid IN (VALUES (17))
SELECT count(*) FROM patients WHERE pid IN (SELECT id FROM regions)
SELECT count(*) FROM patients WHERE pid BETWEEN 1 AND 9
SELECT count(DISTINCT pid + 1) FROM patients
SELECT count(DISTINCT CAST(pid AS text)) FROM patients
SELECT count(*) FROM patients p JOIN regions r ON p.pid = r.id
SELECT count(*) FROM patients WHERE age IN (SELECT pid FROM visits)
SELECT avg(age) FROM (SELECT pid, age FROM patients UNION ALL SELECT age, pid FROM patients) AS x
SELECT sex, pid, count(*) FROM patients GROUP BY ROLLUP (sex, pid)
SELECT min(pid) FROM patients
SELECT avg(x) FROM (SELECT lag(pid) OVER (PARTITION BY pid ORDER BY day) AS x FROM visits) AS y
-- identifiers
SELECT count(DISTINCT ssn) FROM patients
SELECT ssn, count(*) FROM patients GROUP BY ssn
SELECT count(*) FROM patients WHERE ssn = '1'
SELECT count(x) FROM (SELECT upper(ssn) AS x FROM patients) AS y
SELECT DISTINCT ssn FROM patients
-- measure-only columns
SELECT count(*) FROM patients WHERE chol > 200
SELECT chol, count(*) FROM patients GROUP BY chol
SELECT count(*) FILTER (WHERE chol > 200) FROM patients
SELECT sum(CASE WHEN chol > 200 THEN 1 ELSE 0 END) FROM patients
SELECT sum(floor(chol)) FROM patients
SELECT sum(y) FROM (SELECT CASE WHEN chol > 200 THEN 1 ELSE 0 END AS y FROM patients) AS x
SELECT count(*) FROM (SELECT pid, max(chol) AS m FROM patients GROUP BY pid) AS x WHERE m > 200
SELECT count(*) FROM patients p JOIN regions r ON p.chol > r.size
SELECT bool_or(chol > 200) FROM patients
-- aggregates
SELECT min(age), max(age) FROM patients
SELECT string_agg(sex, ',') FROM patients
SELECT array_agg(age) FROM patients
SELECT first_value(age) FROM patients
SELECT sum(DISTINCT age) FROM patients
SELECT approx_distinct(age) FROM patients
SELECT percentile_cont(age / 100.0) WITHIN GROUP (ORDER BY age) FROM patients
SELECT median(weight), median(weight * 2) FROM patients
-- shapes
SELECT avg(age) FROM (SELECT age FROM patients LIMIT 5) AS x
SELECT avg(age) FROM (SELECT age FROM patients ORDER BY age LIMIT 1) AS x
SELECT avg(s) FROM (SELECT sum(age) OVER (ORDER BY age) AS s FROM patients) AS x
SELECT avg(s) FROM (SELECT rank() OVER (PARTITION BY sex ORDER BY age) AS s FROM patients) AS x
SELECT count(*) FROM patients p JOIN staff s ON p.pid = s.id
SELECT count(*) FROM patients p JOIN visits v ON p.age = v.n
SELECT count(*) FROM patients p CROSS JOIN visits v
SELECT count(*) FROM (SELECT pid FROM patients UNION ALL SELECT id FROM staff) AS x
SELECT count(*) FROM patients p WHERE age > (SELECT avg(v.n) FROM visits v WHERE v.pid = p.pid)
SELECT count(*) FROM patients p WHERE EXISTS (SELECT 1 FROM visits v WHERE v.n = p.age)
SELECT count(*) FROM patients WHERE EXISTS (SELECT 1 FROM visits WHERE kind = 'er')
SELECT count(*) FROM patients p WHERE EXISTS (SELECT 1 FROM regions r WHERE r.id = p.region)
SELECT count(*) FROM patients WHERE age = ANY (SELECT n FROM visits)
SELECT avg(age) FILTER (WHERE pid IN (SELECT pid FROM visits)) FROM patients
SELECT name, (SELECT count(*) FROM patients p WHERE p.region = r.id) FROM regions r
SELECT count(*) FROM patients p LEFT JOIN LATERAL (SELECT * FROM visits v WHERE v.pid = p.pid) AS x ON true
SELECT DISTINCT ON (sex) sex, age FROM patients ORDER BY sex, age
SELECT count(*) FROM (SELECT unnest([1, 2, 3]), age FROM patients) AS x
WITH RECURSIVE r AS (SELECT age FROM patients UNION ALL SELECT age FROM r WHERE age < 3) SELECT count(*) FROM r
-- functions
SELECT count(*) FROM patients WHERE random() < 0.5
SELECT count(*) FROM patients WHERE born < now()
SELECT md5(sex), count(*) FROM patients GROUP BY 1
SELECT count(*) FROM patients WHERE array_length(make_array(age)) = 1
SELECT count(*) FROM patients WHERE sex ~ '('
SELECT count(*) FROM patients WHERE 'm' LIKE sex
SELECT count(*) FROM patients WHERE regexp_like(sex, '(')
SELECT count(*) FROM patients WHERE lpad(sex, 100000000, 'x') = 'm'
SELECT kanon_part_sum(age) FROM patients
-- tables
SELECT count(*) FROM hidden
SELECT count(*) FROM closed
SELECT count(*) FROM unknown
SELECT name FROM regions WHERE id = (SELECT count(*) FROM closed)
-- places
SELECT count(*) FROM fed f JOIN patients p ON f.pid = p.pid
SELECT count(*) FROM fed WHERE age IN (SELECT avg(age) FROM fed GROUP BY region)
-- not queries
EXPLAIN SELECT count(*) FROM patients
EXPLAIN ANALYZE SELECT count(*) FROM patients
COPY (SELECT 1) TO '/tmp/kanon-out.csv' STORED AS CSV
INSERT INTO regions SELECT region, sex, 1 FROM patients
CREATE TABLE leak AS SELECT * FROM patients
CREATE VIEW leak AS SELECT * FROM patients
-- private access
SELECT min(born) FROM secret
SELECT median(weight) FROM secret
SELECT sex FROM secret GROUP BY ROLLUP (sex)
