//! Attacks on tables with private access.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use kanon_tests::client::Client;
use kanon_tests::flight::FlightClient;
use kanon_tests::{ADMIN, ANALYST, Site};
use tokio::task::JoinSet;

use crate::solve;
use crate::world::{BUDGET, EPSILON, OTHERS, PEOPLE, cell, is_ill, number, spent};
use crate::{Row, written};

async fn ana(site: &Site) -> Client {
    site.connect(ANALYST).await.unwrap()
}

/// Asks until the budget is spent: answers, and what was refused at the end.
async fn until_refused(client: &Client, sql: impl Fn(usize) -> String) -> (Vec<String>, String) {
    let mut answers = Vec::new();
    loop {
        match cell(client, &sql(answers.len())).await {
            Ok(answer) => answers.push(answer),
            Err(code) => return (answers, code),
        }
        assert!(answers.len() < 1_000, "the budget never ends");
    }
}

pub async fn repeats(site: &Site) -> Row {
    let sql = "SELECT count(*) FROM repeat WHERE ill = 'yes'";
    let (postgres, mut flight) = (ana(site).await, FlightClient::connect(site.flight_port, ANALYST).await);
    let mut answers = BTreeSet::new();
    for _ in 0..500 {
        answers.insert(cell(&postgres, sql).await.unwrap());
        answers.extend(flight.ask(sql).await.unwrap());
    }
    let charged = spent(site, "repeat").await;
    Row::new(
        "averaging: the same question again and again, over both protocols",
        "private",
        written(1_000),
        format!("{} answer, charged once (ε {charged})", answers.len()),
    )
}

pub async fn rewordings(site: &Site) -> Row {
    let client = ana(site).await;
    let conditions = ["ill = 'yes'", "age > 20", "sex = 'f'"];
    let (mut answers, mut texts) = (BTreeSet::new(), BTreeSet::new());
    for i in 0..1_000 {
        let order = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]][i % 6];
        let [a, b, c] = order.map(|x| conditions[x]);
        let (name, gap) = (format!("n{i}"), " ".repeat(1 + i % 5));
        let sql = match i % 4 {
            0 => format!("SELECT count(*) AS {name} FROM reword WHERE {a}{gap}AND {b} AND {c}"),
            1 => {
                format!("select{gap}COUNT( * ) {name} from public.reword as t{i} where ({a}) and ({b} and {c}) and {a}")
            }
            2 => {
                format!("WITH {name} AS (SELECT * FROM reword WHERE {a}) SELECT count(*) FROM {name} WHERE {b} AND {c}")
            }
            _ => format!("SELECT count(*) FROM (SELECT * FROM reword WHERE {a} AND {b}) AS {name} WHERE {c} -- {i}"),
        };
        answers.insert(cell(&client, &sql).await.unwrap_or_else(|e| panic!("{sql}: {e}")));
        texts.insert(sql);
    }
    assert_eq!(texts.len(), 1_000);
    let charged = spent(site, "reword").await;
    Row::new(
        "averaging: rewordings (names, case, white space, order of conditions, CTEs, subqueries)",
        "private",
        written(texts.len()),
        format!("{} answer, charged once (ε {charged})", answers.len()),
    )
}

pub async fn other_questions(site: &Site) -> Row {
    let client = ana(site).await;
    let (answers, code) =
        until_refused(&client, |i| format!("SELECT count(*) FROM other WHERE ill = 'yes' AND age > -{i}")).await;
    assert!(answers.iter().collect::<BTreeSet<_>>().len() > 1, "each has noise of its own");
    Row::new(
        "averaging: questions that mean the same and are not known to",
        "private",
        format!("until refused: {}", answers.len()),
        format!("each is charged; a budget of ε {BUDGET} is spent after {}, then {code}", answers.len()),
    )
}

pub async fn many_analysts(site: &Site) -> Row {
    let mut answered = 0;
    let names: Vec<&str> = std::iter::once(ANALYST.0).chain(OTHERS).collect();
    let mut clients = Vec::new();
    for name in &names {
        clients.push(site.connect((*name, ANALYST.1)).await.unwrap());
    }
    let mut refused = BTreeSet::new();
    for i in 0..100 {
        let sql = format!("SELECT count(*) FROM many WHERE ill = 'yes' AND age > -{i}");
        match cell(&clients[i % clients.len()], &sql).await {
            Ok(_) => answered += 1,
            Err(code) => drop(refused.insert(code)),
        }
    }
    Row::new(
        "averaging: several analysts together",
        "private",
        format!("{} analysts, 100 questions", names.len()),
        format!("{answered} answers: the budget is the people's, not the analyst's; then {}", joined(&refused)),
    )
}

pub async fn larger_epsilon(site: &Site) -> Row {
    let client = ana(site).await;
    let wanted = ["1e9", "0.500001", "0", "-1", "NaN", "inf"];
    let mut codes = BTreeSet::new();
    for epsilon in wanted {
        let set = client.ask(&format!("SET kanon.epsilon = '{epsilon}'")).await;
        let told = match set {
            Err(error) => Err(error.code),
            Ok(_) => cell(&client, "SELECT count(*) FROM larger").await,
        };
        codes.insert(told.expect_err("it is refused"));
        client.ask("RESET kanon.epsilon").await.unwrap();
    }
    assert_eq!(spent(site, "larger").await, 0.0);
    Row::new(
        "a larger ε (10⁹ and others), none, or one that is no number",
        "private",
        written(wanted.len()),
        format!("{}, nothing charged", joined(&codes)),
    )
}

pub async fn second_registration(site: &Site) -> Row {
    let (client, admin) = (ana(site).await, site.connect(ADMIN).await.unwrap());
    let (answers, _) = until_refused(&client, |i| format!("SELECT count(*) FROM second WHERE age > -{i}")).await;
    assert_eq!(answers.len(), (BUDGET / EPSILON) as usize);
    admin.ask("CREATE PRIVACY UNIT of_copy WITH (budget_epsilon = 1000, budget_delta = 0)").await.unwrap();
    // The file itself, and the folder that it is in.
    let locations = [site.dir.join("second.csv").display().to_string(), format!("{}/second*.csv", site.dir.display())];
    let mut codes = BTreeSet::new();
    for (number, location) in locations.iter().enumerate() {
        let policy = |kind: &str| {
            format!(
                "ALTER TABLE copy{number} SET (access = 'private', unit = 'pid', {kind} unit_unique = true,
                 epsilon_per_query = {EPSILON}, delta_per_query = 1e-8)"
            )
        };
        admin.ask(&format!("CREATE EXTERNAL TABLE copy{number} STORED AS CSV LOCATION '{location}'")).await.unwrap();
        codes.insert(admin.ask(&policy("unit_kind = 'of_copy',")).await.expect_err("another kind of unit").code);
        // Without a kind it takes the first one's.
        admin.ask(&policy("")).await.unwrap();
        admin.ask(&format!("GRANT SELECT ON copy{number} TO {}", ANALYST.0)).await.unwrap();
        let told = cell(&client, &format!("SELECT count(*) FROM copy{number}")).await;
        codes.insert(told.expect_err("the budget is spent"));
    }
    Row::new(
        "a second registration of the same files, under a kind of unit of its own and under none",
        "private",
        written(2 * locations.len()),
        format!("{}: it has the first one's budget", joined(&codes)),
    )
}

pub async fn tracker(site: &Site) -> Row {
    let client = ana(site).await;
    let mut differences = BTreeSet::new();
    let (mut pairs, mut code) = (0, String::new());
    while code.is_empty() {
        // Everybody; everybody but the target; and people of no town, so that each time it is another question.
        let all = format!("SELECT count(*) FROM tracker WHERE age > -{pairs}");
        let others = format!("SELECT count(*) FROM tracker WHERE age > -{pairs} AND town <> 'Ems'");
        match (number(&client, &all).await, number(&client, &others).await) {
            (Ok(all), Ok(others)) => {
                pairs += 1;
                differences.insert((all - others) as i64);
            }
            (_, Err(refused)) | (Err(refused), _) => code = refused,
        }
    }
    assert!(differences.len() > 1, "{differences:?}");
    Row::new(
        "tracker and complement: everybody, less everybody but one",
        "private",
        format!("{pairs} pairs until refused"),
        format!("differences with the noise of two answers; both are charged; then {code}"),
    )
}

pub async fn key_of_one(site: &Site) -> Row {
    const ASKED: usize = 200;
    let client = ana(site).await;
    let (mut told, mut others) = (0, 0);
    for i in 0..ASKED {
        let sql = format!("SELECT town, count(*) FROM town WHERE age > -{i} GROUP BY town");
        let lines = client.ask(&sql).await.unwrap().lines();
        told += lines.iter().filter(|line| line.starts_with("Ems")).count();
        others += lines.len();
    }
    assert!(others > ASKED, "{others} other towns are told");
    Row::new(
        "a group whose key one person brings (GROUP BY town)",
        "private",
        written(ASKED),
        format!("the key was told {told} times; others were"),
    )
}

pub async fn errors(site: &Site) -> Row {
    let client = ana(site).await;
    // Each fails on the target's row, or on all rows but that, if anywhere.
    let traps = [
        "count(*) FROM error WHERE 1 / pay > -1 AND town = 'Ems' AND age > -{i}",
        "count(age / CASE WHEN town = 'Ems' THEN 0 ELSE 1 END) FROM error WHERE age > -{i}",
        "count(*) FROM error WHERE CAST(CASE WHEN town = 'Ems' THEN 'x' ELSE '1' END AS bigint) > 0 AND age > -{i}",
        "count(*) FROM error WHERE CAST(CASE WHEN town = 'Ems' THEN 'x' ELSE '2020-01-01' END AS date) IS NULL AND age > -{i}",
        "count(CASE WHEN town = 'Ems' THEN age * 9223372036854775807 ELSE age END) FROM error WHERE age > -{i}",
    ];
    let (mut asked, mut failed) = (0, 0);
    for i in 0..20 {
        for trap in traps {
            let told = number(&client, &format!("SELECT {}", trap.replace("{i}", &i.to_string()))).await;
            asked += 1;
            if let Err(code) = told {
                println!("{code}: {trap}");
                failed += 1;
            }
        }
    }
    Row::new(
        "error oracle: 1/0, bad casts, overflows on one person's row alone",
        "private",
        written(asked),
        format!("{failed} errors: numbers with noise, like all others"),
    )
}

pub async fn precision(site: &Site) -> Row {
    const ASKED: usize = 200;
    let client = ana(site).await;
    // With the target and without it: the same grid, so no digit tells which of the two it was.
    let mut finest = [0.0_f64; 2];
    for i in 0..ASKED {
        for (side, condition) in ["true", "town <> 'Ems'"].into_iter().enumerate() {
            let sum =
                number(&client, &format!("SELECT sum(pay) FROM float WHERE {condition} AND age > -{i}")).await.unwrap();
            let mut step = 1.0;
            while (sum / step).fract() != 0.0 {
                step /= 2.0;
            }
            finest[side] = finest[side].max(1.0 / step);
        }
    }
    assert_eq!(finest[0], finest[1], "the finest steps of answers with the target and without it");
    Row::new(
        "precision of floats: the low digits of noisy sums",
        "private",
        written(2 * ASKED),
        "with the target and without it all answers lie on the same grid",
    )
}

/// Whether so few are guessed right that they may as well be guesses: five standard deviations above what the noise leaves.
fn guessed(right: usize) -> String {
    let most = PEOPLE * 7 / 10;
    assert!(right < most, "{right} of {PEOPLE} are right");
    format!("fewer than {most} of {PEOPLE} traits right ({} by chance)", PEOPLE / 2)
}

fn right(guesses: &[bool]) -> usize {
    guesses.iter().enumerate().filter(|(i, guess)| is_ill(i + 1) == **guess).count()
}

pub async fn few_large_questions(site: &Site) -> Row {
    let client = ana(site).await;
    let ask = |number: usize| {
        let (a, b) = solve::subset(number);
        format!("SELECT count(*) FROM few WHERE ill = 'yes' AND {}", solve::condition(a, b))
    };
    let (answers, code) = until_refused(&client, ask).await;
    let answers: Vec<(usize, f64)> = answers.iter().map(|n| n.parse().unwrap()).enumerate().collect();
    let right = right(&solve::guess(PEOPLE, &answers, 2.0 / EPSILON.powi(2)));
    println!("{} questions of epsilon {EPSILON}: {right} of {PEOPLE} right", answers.len());
    Row::new(
        "linear reconstruction from random subsets, as many as the budget admits",
        "private",
        format!("{} of ε {EPSILON}, then {code}", answers.len()),
        guessed(right),
    )
}

pub async fn many_small_questions(site: &Site) -> Row {
    const ASKED: usize = 5_000;
    const AT_ONCE: usize = 4;
    let each = BUDGET / ASKED as f64;
    let mut tasks = JoinSet::new();
    for task in 0..AT_ONCE {
        let client = ana(site).await;
        tasks.spawn(async move {
            client.ask(&format!("SET kanon.epsilon = {each}")).await.unwrap();
            let mut answers = Vec::new();
            for question in (task..ASKED).step_by(AT_ONCE) {
                let (a, b) = solve::subset(question);
                let sql = format!("SELECT count(*) FROM fine WHERE ill = 'yes' AND {}", solve::condition(a, b));
                answers.push((question, number(&client, &sql).await.unwrap()));
            }
            answers
        });
    }
    let answers = tasks.join_all().await.concat();
    let right = right(&solve::guess(PEOPLE, &answers, 2.0 / each.powi(2)));
    println!("{} questions of epsilon {each}: {right} of {PEOPLE} right", answers.len());
    assert!((spent(site, "fine").await - BUDGET).abs() < 1e-6);
    Row::new(
        "linear reconstruction from random subsets, the budget divided among many",
        "private",
        format!("{} of ε {each}", written(answers.len())),
        guessed(right),
    )
}

pub async fn time(site: &Site) -> Row {
    const ASKED: usize = 40;
    let client = ana(site).await;
    // Work that is done for the rows of one town alone.
    let mut took = [Vec::new(), Vec::new()];
    for i in 0..ASKED {
        for (side, town) in ["Ems", "Nowhere"].into_iter().enumerate() {
            let sql = format!(
                "SELECT count(*) FROM time t JOIN generate_series(1, 300000) AS g(n) ON (t.town = '{town}') = (g.n > 0) WHERE age > -{i}"
            );
            let began = Instant::now();
            number(&client, &sql).await.unwrap();
            took[side].push(began.elapsed());
        }
    }
    let [with, without] = took.map(|mut all| {
        all.sort_unstable();
        all[ASKED / 2]
    });
    println!("a question that takes long for one person's row: {with:?}, for nobody's: {without:?}");
    assert!(
        with > without + Duration::from_millis(2),
        "{with:?} and {without:?}: does it not tell any more? Then say so"
    );
    Row::new(
        "time: work that is done for one person's row alone",
        "private",
        format!("{ASKED} pairs"),
        "**gives way**, unless `release_tick_ms` is set: the time tells whether that person is there",
    )
}

fn joined(codes: &BTreeSet<String>) -> String {
    codes.iter().cloned().collect::<Vec<_>>().join(", ")
}
