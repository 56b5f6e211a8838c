//! The dashboard of deploy/grafana at the demo's nodes: its queries with the macros written out as Grafana's data source for PostgreSQL
//! writes them. Grafana itself is not run.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kanon_tests::client::{Answer, Client};
use serde_json::Value;
use tempfile::TempDir;

const DASHBOARD: &str = include_str!("../../../deploy/grafana/dashboards/hospitals.json");
const USER: (&str, &str) = ("demo_user", "demo_password");

/// `$__name(first, second)` as SQL, for a span of time.
fn macros(sql: &str, from: &str, to: &str) -> String {
    let mut written = sql.to_owned();
    while let Some(start) = written.find("$__") {
        let call = &written[start + 3..];
        let (name, rest) = call.split_once('(').unwrap();
        let (arguments, _) = rest.split_once(')').unwrap();
        let end = start + 3 + name.len() + 1 + arguments.len() + 1;
        let arguments: Vec<&str> = arguments.split(',').map(str::trim).collect();
        let seconds = || {
            let interval = arguments[1].trim_matches('\'');
            let (number, unit) = interval.split_at(interval.len() - 1);
            let unit = match unit {
                "s" => 1,
                "m" => 60,
                "h" => 3_600,
                "d" => 86_400,
                other => panic!("a unit of time: {other}"),
            };
            number.parse::<u64>().unwrap() * unit
        };
        let column = arguments[0];
        let value = match name {
            "time" => format!("{column} AS \"time\""),
            "timeFilter" => format!("{column} BETWEEN '{from}' AND '{to}'"),
            "timeFrom" => format!("'{from}'"),
            "timeTo" => format!("'{to}'"),
            "timeGroup" => format!("floor(extract(epoch from {column})/{0})*{0}", seconds()),
            "timeGroupAlias" => format!("floor(extract(epoch from {column})/{0})*{0} AS \"time\"", seconds()),
            other => panic!("a macro that is not known: {other}"),
        };
        written.replace_range(start..end, &value);
    }
    written
}

#[test]
fn macros_are_written_out() {
    let sql = "SELECT $__timeGroupAlias(seen, '5m'), $__timeGroup(seen, 1d) FROM t WHERE $__timeFilter(seen) AND x > $__timeFrom()";
    assert_eq!(
        macros(sql, "a", "b"),
        "SELECT floor(extract(epoch from seen)/300)*300 AS \"time\", floor(extract(epoch from seen)/86400)*86400 FROM t \
         WHERE seen BETWEEN 'a' AND 'b' AND x > 'a'"
    );
}

struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        kanon_tests::signal(self.0.id(), "TERM");
        let _ = self.0.wait();
    }
}

/// The demo's four nodes; the port of the first.
async fn demo(dir: &Path) -> (Demo, u16) {
    // Eight ports: four, and four ten above; above those that other tests take, and below those of outgoing connections.
    let free = |base: &u16| {
        let ports = (0..4).flat_map(|i| [base + i, base + 10 + i]);
        ports.map(|port| TcpListener::bind(("127.0.0.1", port))).collect::<Result<Vec<_>, _>>().is_ok()
    };
    let base = (0..200).map(|_| 32_000 + rand::random::<u16>() % 740).find(free).unwrap();
    let mut command = Command::new(kanon_tests::kanon());
    command.args(["demo", "--patients", "12000", "--base-port", &base.to_string(), "--dir"]).arg(dir);
    let mut demo = Demo(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let until = Instant::now() + Duration::from_secs(180);
    while !dir.join("demo.json").is_file() {
        assert!(demo.0.try_wait().unwrap().is_none(), "the demo ended");
        assert!(Instant::now() < until, "the demo does not come up");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    (demo, base)
}

async fn spent(client: &Client) -> Vec<String> {
    client.ask("SELECT site, scope, spent_epsilon FROM kanon.budget ORDER BY 1, 2").await.unwrap().lines()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_shows_the_demo_and_costs_nothing_again() {
    let dir = TempDir::new().unwrap();
    let (_demo, port) = demo(dir.path()).await;
    let client = Client::connect(port, USER.0, USER.1).await.unwrap();
    // What the data source asks to see whether it is well, and for its version.
    client.ask("-- ping").await.unwrap();
    client.ask("SELECT 1; SELECT 2").await.unwrap();
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (from, to) = (text(&dashboard["time"]["from"]), text(&dashboard["time"]["to"]));

    let before = spent(&client).await;
    let mut variables = Vec::new();
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        let values = client.ask(variable["query"].as_str().unwrap()).await.unwrap().lines();
        assert!(values.len() > 5, "{variable}: {values:?}");
        let list: Vec<String> = values.iter().map(|v| format!("'{}'", v.replace('\'', "''"))).collect();
        variables.push((format!("${}", text(&variable["name"])), list.join(",")));
    }
    assert_eq!(spent(&client).await, before, "values of filters are declared, and cost nothing");

    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let mut sql = macros(target["rawSql"].as_str().unwrap(), &from, &to);
            for (name, list) in &variables {
                sql = sql.replace(name, list);
            }
            queries.push((text(&panel["title"]), text(&target["format"]), sql));
        }
    }
    assert_eq!(queries.len(), 8);
    let mut answers: Vec<Answer> = Vec::new();
    for (title, format, sql) in &queries {
        let answer = client.ask(sql).await.unwrap_or_else(|e| panic!("{title}: {sql}: {e:?}"));
        assert!(answer.rows.len() > 1, "{title}: {answer:?}");
        if format == "time_series" {
            let time = answer.columns.iter().position(|c| c == "time").unwrap();
            assert!(answer.rows.iter().all(|row| row[time].as_ref().unwrap().parse::<f64>().unwrap() > 1.5e9));
        }
        answers.push(answer);
    }
    let after = spent(&client).await;
    assert_ne!(before, after);
    for ((title, _, sql), first) in queries.iter().zip(&answers).filter(|((title, ..), _)| title != "Budget") {
        assert_eq!(client.ask(sql).await.unwrap().rows, first.rows, "{title}");
    }
    assert_eq!(spent(&client).await, after, "a dashboard that is loaded again costs nothing");
}
