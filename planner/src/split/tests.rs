//! What is sent means what was meant: a text that was altered in any one place is not taken for the intended one.

use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::check::means_the_same;
use super::layout::Layout;
use super::{Split, aggregated, split};
use crate::facts::{Placement, SiteId};
use crate::release_unit::Decision;
use world::{World, context, decided};

#[allow(dead_code, reason = "it serves other tests too")]
#[path = "../../tests/boundary/world.rs"]
mod world;

/// Every text that differs in one token which carries meaning.
fn altered(sql: &str) -> Vec<String> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).with_unescape(false).tokenize().unwrap();
    let mut texts = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        // `SELECT 1 AS c0` within EXISTS: what is selected there means nothing.
        let named = |word: &Token| matches!(word, Token::Word(w) if w.value == "AS");
        if named(tokens.get(at + 2).unwrap_or(&Token::EOF)) && *token == Token::Number("1".into(), false) {
            continue;
        }
        let other = match token {
            Token::Number(number, _) => format!("{number}7"),
            Token::SingleQuotedString(text) => format!("'{text}7'"),
            Token::Eq => "<>".into(),
            Token::Neq => "=".into(),
            Token::Lt => "<=".into(),
            Token::LtEq => "<".into(),
            Token::Gt => ">=".into(),
            Token::GtEq => ">".into(),
            Token::Plus => "-".into(),
            Token::Minus => "+".into(),
            Token::Div => "*".into(),
            Token::Word(word) => match word.value.as_str() {
                "AND" => "OR",
                "OR" => "AND",
                "IN" => "NOT IN",
                "EXISTS" => "NOT EXISTS",
                "NOT" => "",
                "NULL" => "TRUE",
                "LEFT" => "RIGHT",
                "FULL" => "LEFT",
                "ALL" => "",
                "DISTINCT" => "",
                "LIKE" => "NOT LIKE",
                "PARTITION" => "ORDER",
                "sum" => "max",
                "max" => "min",
                "min" => "max",
                "avg" => "sum",
                "stddev" => "stddev_pop",
                "bool_and" => "bool_or",
                "bool_or" => "bool_and",
                "kanon_part_sum" => "kanon_part_avg",
                "kanon_part_count" => "kanon_part_sum",
                "kanon_part_avg_x" => "kanon_part_avg_y",
                "kanon_part_m2_x" => "kanon_part_c2",
                "upper" => "lower",
                "sex" => "ssn",
                "age" => "region",
                "weight" => "chol",
                "kind" => "kind || 'x'",
                "size" => "id",
                "smoker" => "NOT smoker",
                "fed" => "fed_visits",
                "fed_visits" => "fed",
                "fed_open" => "fed",
                "lag" => "lead",
                "month" => "year",
                "YEAR" => "MONTH",
                _ => continue,
            }
            .into(),
            _ => continue,
        };
        let piece = |(i, token): (usize, &Token)| if i == at { other.clone() } else { token.to_string() };
        texts.push(tokens.iter().enumerate().map(piece).collect());
    }
    texts
}

#[tokio::test]
async fn a_text_altered_in_one_place_is_refused() {
    let ctx = context();
    let state = ctx.state();
    let site = SiteId::new("budapest");
    let (mut texts, mut refused) = (0, 0);
    let queries = include_str!("../../tests/boundary/split.sql");
    for sql in queries.lines().filter(|line| !line.trim().is_empty() && !line.starts_with("--")) {
        let Ok(Decision::Release { units, .. }) = decided(&ctx, sql).await else { continue };
        for unit in units {
            let Ok(Split { subplans, layout }) = split(&unit, std::slice::from_ref(&site), &World, &state) else {
                continue;
            };
            let Some(subplan) = subplans.first() else { continue };
            texts += 1;
            let unit = aggregated(&unit).unwrap();
            let same = |text: &str| means_the_same(&unit.source, &layout, &site, text, &World, &state);
            assert!(same(&subplan.sql), "{}", subplan.sql);
            let constant_key = subplan.sql.strip_suffix("GROUP BY 'budapest'");
            for text in altered(&subplan.sql) {
                if constant_key.is_some_and(|head| text.starts_with(head)) {
                    // Rows grouped by another constant are the same group.
                    continue;
                }
                assert!(!same(&text), "taken for the same:\n{}\n{text}", subplan.sql);
                refused += 1;
            }
        }
    }
    assert!(texts > 50 && refused > 400, "{refused} alterations of {texts} texts");
}

/// Asks whether a text means the same as a query at Budapest.
async fn means(sql: &str, text: &str) -> bool {
    let ctx = context();
    let Ok(Decision::Release { units, .. }) = decided(&ctx, sql).await else { panic!("{sql} is a release") };
    let unit = units.first().unwrap();
    assert!(matches!(unit.placement, Placement::Sites { .. }));
    let layout = Layout::of(unit, &World).unwrap();
    means_the_same(&unit.source, &layout, &SiteId::new("budapest"), text, &World, &ctx.state())
}

#[tokio::test]
async fn spelling_makes_no_difference_and_meaning_does() {
    let by_sex = "SELECT sex, count(*) FROM fed WHERE age > 50 AND smoker GROUP BY sex";
    for same in [
        "SELECT sex, count(*) AS m0 FROM fed WHERE age > 50 AND smoker GROUP BY sex",
        "SELECT f.sex AS k, count(1) FROM public.fed AS f WHERE f.smoker AND f.age > 50 GROUP BY 1",
        "SELECT sex, count(*) FROM (SELECT sex, age, smoker FROM fed WHERE smoker) AS q WHERE age > 50 GROUP BY sex",
        "SELECT sex, count(*) FROM fed WHERE age > 50 AND smoker AND 1 = 1 GROUP BY sex",
    ] {
        assert!(means(by_sex, same).await, "{same}");
    }
    for other in [
        "SELECT sex, count(*) FROM fed WHERE age > 50 GROUP BY sex",
        "SELECT sex, count(*) FROM fed WHERE age > 50 AND smoker AND sex = 'f' GROUP BY sex",
        "SELECT sex, count(*) FROM fed WHERE age > 50 AND smoker GROUP BY sex LIMIT 3",
        "SELECT sex, count(*) FROM fed WHERE age > 50 AND smoker GROUP BY sex HAVING count(*) > 3",
        "SELECT sex, count(*) FROM fed WHERE age > 50 AND smoker GROUP BY sex, age",
        "SELECT sex, count(*) FROM fed WHERE age > 50 AND smoker GROUP BY ROLLUP (sex)",
        "SELECT sex, count(*), count(*) FROM fed WHERE age > 50 AND smoker GROUP BY sex",
        "SELECT sex, count(*) FILTER (WHERE age > 60) FROM fed WHERE age > 50 AND smoker GROUP BY sex",
        "SELECT sex, sum(1) FROM fed WHERE age > 50 AND smoker GROUP BY sex",
        "SELECT sex, 1 FROM fed WHERE age > 50 AND smoker GROUP BY sex",
        "SELECT sex, age FROM fed WHERE age > 50 AND smoker",
        "SELECT sex, count(*) FROM fed_visits WHERE age > 50 AND smoker GROUP BY sex",
        "SELECT sex, count(*) FROM fed, fed_visits WHERE age > 50 AND smoker GROUP BY sex",
        "SELECT sex, count(*) FROM fed WHERE age > 50 AND smoker GROUP BY sex; SELECT * FROM fed",
        "DELETE FROM fed",
        "",
    ] {
        assert!(!means(by_sex, other).await, "{other}");
    }
    let rollup = "SELECT sex, region, count(*) FROM fed GROUP BY ROLLUP (sex, region)";
    let sets = |grouping: &str, sets: &str| {
        format!("SELECT sex, region, grouping({grouping}), count(*) FROM fed GROUP BY GROUPING SETS ({sets})")
    };
    assert!(means(rollup, &sets("sex, region", "(sex, region), (sex), ()")).await);
    assert!(!means(rollup, &sets("region, sex", "(sex, region), (sex), ()")).await, "another bit for each key");
    assert!(!means(rollup, &sets("sex", "(sex, region), (sex), ()")).await);
    assert!(!means(rollup, &sets("sex, region", "(sex, region), (region), ()")).await);
    assert!(!means(rollup, &sets("sex, region", "(sex, region), (sex)")).await);
}
