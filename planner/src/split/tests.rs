//! What is sent means what was meant: another spelling does not matter, and an altered text is not taken for the intended one.

use super::check::means_the_same;
use super::layout::Layout;
use crate::facts::{Placement, SiteId};
use crate::release_unit::Decision;
use world::{World, context, decided};

#[allow(dead_code, reason = "it serves other tests too")]
#[path = "../../tests/boundary/world.rs"]
mod world;

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
