//! Random aggregate queries over the open tables `heart`, `visits` and `wards`.

use crate::data::Random;

/// A query, and whether its rows come in a certain order.
pub struct Query {
    pub sql: String,
    pub ordered: bool,
}

/// The `number`th query. `{t}` stands in front of the names of federated tables.
pub fn query(number: u64) -> Query {
    let mut random = Random(0xC0FF_EE00 + number * 7919);
    let r = &mut random;
    match r.below(20) {
        0 => distinct(r),
        1 => over_groups(r),
        2 => with_window(r),
        3 => united(r),
        4 => constants(r),
        _ => grouped(r),
    }
}

/// Where rows come from: the text after FROM, the alias of `heart` with a dot, and further keys that the join gives.
struct Source {
    with: String,
    from: String,
    h: &'static str,
    more_keys: &'static [&'static str],
}

fn source(r: &mut Random) -> Source {
    let plain = |with: String, from: &str| Source { with, from: from.to_owned(), h: "", more_keys: &[] };
    match r.below(12) {
        0 => Source {
            with: String::new(),
            from: "{t}heart h JOIN wards w ON h.ward = w.ward".to_owned(),
            h: "h.",
            more_keys: &["w.name", "w.floor"],
        },
        1 => Source {
            with: String::new(),
            from: "{t}heart h LEFT JOIN {t}visits v ON h.id = v.id AND v.kind <> 'phone'".to_owned(),
            h: "h.",
            more_keys: &["v.kind", "v.n"],
        },
        2 => {
            let condition = condition(r, "");
            plain(format!("WITH c AS (SELECT * FROM {{t}}heart WHERE {condition}) "), "c")
        }
        3 => plain(String::new(), "(SELECT *, age * 2 AS twice FROM {t}heart WHERE age > 30) AS s"),
        _ => plain(String::new(), "{t}heart"),
    }
}

fn key(r: &mut Random, source: &Source) -> String {
    if !source.more_keys.is_empty() && r.chance(40) {
        return r.pick(source.more_keys).to_owned();
    }
    let h = source.h;
    match r.below(14) {
        0 | 1 => format!("{h}sex"),
        2 | 3 => format!("{h}pain"),
        4 => format!("{h}angina"),
        5 => format!("{h}ward"),
        6 => format!("{h}site"),
        7 => format!("{h}age/10*10"),
        8 => format!("CASE WHEN {h}age > 60 THEN 'old' WHEN {h}age > 40 THEN 'middle' END"),
        9 => format!("extract(year FROM {h}seen)"),
        10 => format!("date_trunc('month', {h}at)"),
        11 => format!("upper({h}sex)"),
        12 => format!("{h}age > 50"),
        _ => format!("coalesce({h}pain, 'unknown')"),
    }
}

fn condition(r: &mut Random, h: &str) -> String {
    match r.below(16) {
        0 => format!("{h}age > {}", 30 + r.below(50)),
        // No key is equal to a constant: the engine would leave it out of ORDER BY, though it is NULL in a ROLLUP's totals.
        1 => format!("{h}sex <> 'male'"),
        2 => format!("{h}pain IN ('typical', 'none at all')"),
        3 => format!("{h}chol BETWEEN 180.25 AND {}", 200 + r.below(80)),
        4 => format!("{h}angina AND {h}age < 70"),
        5 => format!("{h}angina IS NULL OR NOT {h}angina"),
        6 => format!("{h}site <> 'geneva'"),
        7 => format!("{h}site IN ('basel', 'zug')"),
        8 => format!("{h}site = 'lugano' OR {h}bill > 100.50"),
        9 => format!("{h}seen >= DATE '2020-01-01' AND {h}st < 3.3"),
        10 => format!("{h}pain LIKE '%typical'"),
        11 => format!("{h}id IN (SELECT id FROM {{t}}visits WHERE cost > {})", r.below(900)),
        12 => format!("{h}bp > (SELECT avg(bp) FROM {{t}}heart WHERE sex = 'male')"),
        13 => format!("{h}age < {}", 27 + r.below(8)),
        14 => format!("EXISTS (SELECT 1 FROM {{t}}visits x WHERE x.id = {h}id AND x.kind = 'er')"),
        _ => format!("{h}at < TIMESTAMP '2021-03-04 05:06:07' AND {h}bp % 2 = 0"),
    }
}

fn number(r: &mut Random, h: &str) -> String {
    let column = r.pick(&["age", "bp", "chol", "st", "bill", "chol"]);
    match r.below(6) {
        0 => format!("{h}{column} + 1"),
        1 => format!("{h}{column} * 2"),
        2 => format!("CASE WHEN {h}age > 50 THEN {h}{column} END"),
        _ => format!("{h}{column}"),
    }
}

fn aggregate(r: &mut Random, h: &str) -> String {
    let x = number(r, h);
    let (a, b) = (r.pick(&["chol", "st", "bp"]), r.pick(&["age", "chol", "bp"]));
    let call = match r.below(40) {
        0..=4 => "count(*)".to_owned(),
        5 | 6 => format!("count({h}{})", r.pick(&["sex", "chol", "angina", "seen"])),
        7..=9 => format!("sum({x})"),
        10..=13 => format!("avg({x})"),
        14 => format!("min({h}{})", r.pick(&["age", "st", "bill", "sex", "seen", "at"])),
        15 => format!("max({h}{})", r.pick(&["age", "chol", "bill", "pain", "seen", "at"])),
        16 => format!("var_samp({x})"),
        17 => format!("var_pop({x})"),
        18 => format!("stddev({x})"),
        19 => format!("stddev_pop({x})"),
        20 => format!("covar_samp({h}{a}, {h}{b})"),
        21 => format!("covar_pop({h}{a}, {h}{b})"),
        22 => format!("corr({h}{a}, {h}{b})"),
        23 => format!("regr_slope({h}{a}, {h}{b})"),
        24 => format!("regr_intercept({h}{a}, {h}{b})"),
        25 => format!("regr_count({h}{a}, {h}{b})"),
        26 => format!("regr_r2({h}{a}, {h}{b})"),
        27 => format!("regr_avgx({h}{a}, {h}{b})"),
        28 => format!("regr_avgy({h}{a}, {h}{b})"),
        29 => format!("regr_sxx({h}{a}, {h}{b})"),
        30 => format!("regr_syy({h}{a}, {h}{b})"),
        31 => format!("regr_sxy({h}{a}, {h}{b})"),
        32 => format!("bool_and({h}age > {})", 28 + r.below(5)),
        33 => format!("bool_or({h}angina)"),
        34 => format!("count(DISTINCT {h}{})", r.pick(&["sex", "ward", "age"])),
        35 => format!("sum(DISTINCT {h}ward)"),
        36 => format!("median({h}{})", r.pick(&["age", "chol"])),
        37 => format!("percentile_cont(0.{}) WITHIN GROUP (ORDER BY {h}chol)", 1 + r.below(9)),
        _ => format!("sum({h}age * {h}bp)"),
    };
    if r.chance(20) && !call.contains("WITHIN") {
        // Conditions on rows as they are: a subquery in FILTER is asked elsewhere.
        let simple =
            r.pick(&["age > 50", "sex = 'male'", "angina", "site = 'basel'", "pain IS NOT NULL", "chol < 200.5"]);
        return format!("{call} FILTER (WHERE {h}{simple})");
    }
    call
}

fn aggregates(r: &mut Random, h: &str) -> Vec<String> {
    (0..1 + r.below(4)).map(|_| aggregate(r, h)).collect()
}

fn filter(r: &mut Random, h: &str) -> String {
    match r.below(5) {
        0 | 1 => format!(" WHERE {}", condition(r, h)),
        2 => format!(" WHERE {} AND ({})", condition(r, h), condition(r, h)),
        _ => String::new(),
    }
}

/// The select list, named, so that an outer query or ORDER BY can say which is meant.
fn listed(items: &[String]) -> String {
    items.iter().enumerate().map(|(i, item)| format!("{item} AS c{i}")).collect::<Vec<_>>().join(", ")
}

/// SELECT … GROUP BY; the columns that name a group come first.
fn group_query(r: &mut Random) -> (String, usize) {
    let source = source(r);
    let mut keys: Vec<String> = (0..r.below(4)).map(|_| key(r, &source)).collect();
    keys.sort();
    keys.dedup();
    let filter = filter(r, source.h);
    let mut items = keys.clone();
    let by = if keys.is_empty() {
        String::new()
    } else {
        let list = keys.join(", ");
        let grouping = match r.below(7) {
            0 => format!("ROLLUP ({list})"),
            1 => format!("CUBE ({list})"),
            2 => {
                let sets: Vec<String> = keys.iter().map(|k| format!("({k})")).collect();
                let whole = if keys.len() > 1 { format!(", ({list})") } else { String::new() };
                format!("GROUPING SETS ({}{whole}, ())", sets.join(", "))
            }
            _ => list.clone(),
        };
        if grouping != list {
            items.push(format!("grouping({list})"));
        }
        format!(" GROUP BY {grouping}")
    };
    let names = items.len();
    items.extend(aggregates(r, source.h));
    let having = match r.below(6) {
        0 if names > 0 => format!(" HAVING count(*) > {}", 1 + r.below(6)),
        1 if names > 0 => format!(" HAVING avg({}age) > {}", source.h, 50 + r.below(6)),
        _ => String::new(),
    };
    let Source { with, from, .. } = source;
    (format!("{with}SELECT {} FROM {from}{filter}{by}{having}", listed(&items)), names)
}

fn grouped(r: &mut Random) -> Query {
    let (mut sql, names) = group_query(r);
    let ordered = r.chance(60) && names > 0;
    if ordered {
        let by: Vec<String> = (1..=names).map(|i| format!("{i}{}", r.pick(&["", " DESC", " NULLS FIRST"]))).collect();
        sql.push_str(&format!(" ORDER BY {}", by.join(", ")));
        if r.chance(30) {
            sql.push_str(&format!(" LIMIT {}", 1 + r.below(6)));
        }
        if r.chance(10) {
            sql.push_str(" OFFSET 1");
        }
    }
    Query { sql, ordered }
}

fn distinct(r: &mut Random) -> Query {
    let source = source(r);
    let keys = [key(r, &source), key(r, &source)];
    let filter = filter(r, source.h);
    let Source { with, from, .. } = &source;
    let sql = if r.chance(50) {
        format!("{with}SELECT DISTINCT {} FROM {from}{filter}", listed(&keys))
    } else {
        format!("{with}SELECT count(*) AS n FROM (SELECT DISTINCT {} FROM {from}{filter}) AS d", listed(&keys))
    };
    Query { sql, ordered: false }
}

fn over_groups(r: &mut Random) -> Query {
    let (inner, names) = group_query(r);
    let with = inner.starts_with("WITH");
    let (head, inner) = if with { inner.split_at(inner.find(") SELECT").unwrap() + 2) } else { ("", inner.as_str()) };
    let last = format!("c{names}");
    Query {
        sql: format!("{head}SELECT count(*) AS n, count(DISTINCT {last}) AS d, min({last}) AS m FROM ({inner}) AS g"),
        ordered: false,
    }
}

fn with_window(r: &mut Random) -> Query {
    let filter = filter(r, "");
    let key = r.pick(&["pain", "ward", "age/10*10"]);
    Query {
        sql: format!(
            "SELECT k, n, rank() OVER (ORDER BY n DESC, k) AS place, sum(n) OVER () AS total, n * 100 / sum(n) OVER () AS percent \
             FROM (SELECT {key} AS k, count(*) AS n FROM {{t}}heart{filter} GROUP BY 1) AS g ORDER BY place"
        ),
        ordered: true,
    }
}

fn united(r: &mut Random) -> Query {
    let aggregate = r.pick(&["count(*)", "sum(x)", "avg(x)", "max(x)", "stddev(x)"]);
    let filter = filter(r, "");
    Query {
        sql: format!(
            "SELECT k, count(*) AS n, {aggregate} AS a FROM (SELECT sex AS k, age AS x FROM {{t}}heart{filter} \
             UNION ALL SELECT kind, n FROM {{t}}visits) AS u GROUP BY k"
        ),
        ordered: false,
    }
}

/// Aggregates without groups, over few rows or none.
fn constants(r: &mut Random) -> Query {
    let list = listed(&aggregates(r, ""));
    let nobody = r.pick(&["age > 200", "age < 31", "site = 'zug'", "site = 'nowhere'", "id = 17", "false"]);
    let sets = r.pick(&[
        "",
        " GROUP BY ROLLUP (sex)",
        " GROUP BY site",
        " GROUP BY CUBE (site, pain)",
        " GROUP BY ROLLUP (site)",
    ]);
    Query { sql: format!("SELECT {list} FROM {{t}}heart WHERE {nobody}{sets}"), ordered: false }
}
