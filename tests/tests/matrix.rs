//! Who may do what: every role, every kind of statement, every kind of table, every protocol. The verdicts stand in one table.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

use std::fmt::Write as _;

use kanon_tests::client::Client;
use kanon_tests::flight::FlightClient;
use kanon_tests::{ADMIN, Federation, Site, SiteSpec};

/// Roles as columns of the table. `granted` and `plain` are analysts, of whom the one was granted SELECT on all tables but `secret`; `nobody` may log in, and no more.
const ROLES: [&str; 7] = ["nobody", "plain", "granted", "steward", "auditor", "operator", "admin"];
const PASSWORD: &str = "the same secret";
const TABLES: [&str; 4] = ["open_t", "cohort_t", "private_t", "secret_t"];

/// A statement of each kind over a table, `{t}`; `{n}` is another number each time.
const OVER_TABLES: &str = "
rows            SELECT * FROM {t} LIMIT 1
aggregate       SELECT count(*) FROM {t}
subquery        SELECT (SELECT count(*) FROM {t}) > 0
unit            SELECT max(pid) FROM {t}
explain         EXPLAIN SELECT count(*) FROM {t}
privacy         EXPLAIN (PRIVACY) SELECT count(*) FROM {t}
cursor          DECLARE c{n} CURSOR WITH HOLD FOR SELECT count(*) FROM {t}
temporary       CREATE TEMP TABLE t{n} AS SELECT count(*) AS n FROM {t}
insert          INSERT INTO {t} VALUES (1, 1)
suspend         ALTER TABLE {t} SET (suspended = false)
column          ALTER TABLE {t} ALTER COLUMN age SET (lower = 0, upper = 100)
comment         COMMENT ON TABLE {t} IS 'patients'
grant           GRANT SELECT ON {t} TO keeper
grant columns   GRANT SELECT (age) ON {t} TO other
revoke          REVOKE SELECT ON {t} FROM other
regclass        SELECT '{t}'::regclass
policy          SELECT kanon.explain_policy('{t}')
";

/// A statement of each kind about the node.
const OVER_NODE: &str = "
nothing         SELECT 1
setting         SET application_name = 'x'
own password    ALTER ROLE {role} PASSWORD 'the same secret'
own token       SELECT kanon.create_token()
own key         SELECT kanon.create_api_key('k{n}')
other's token   SELECT kanon.create_token(role => 'other')
other's key     SELECT kanon.create_api_key('k{n}', 'other')
create role     CREATE ROLE r{n}
alter role      ALTER ROLE other NOLOGIN
drop role       DROP ROLE IF EXISTS none{n}
grant role      GRANT analyst TO other
become admin    GRANT admin TO {role}
revoke role     REVOKE auditor FROM other
role's budget   ALTER ROLE other SET kanon.budget_epsilon = 5
suspend role    ALTER ROLE other SET kanon.suspended = on
create table    CREATE EXTERNAL TABLE x{n} STORED AS CSV LOCATION '{dir}/people.csv'
drop table      DROP TABLE IF EXISTS none{n}
create unit     CREATE PRIVACY UNIT u{n} WITH (budget_epsilon = 1, budget_delta = 1e-6)
alter unit      ALTER PRIVACY UNIT patient SET (budget_epsilon = 1000)
opt out         CALL kanon.exclude_unit('patient', '99{n}')
opted out       SELECT count(*) > 0 FROM kanon.excluded_units
write off       CALL kanon.write_off()
schema          GRANT USAGE ON SCHEMA public TO other
pending         SELECT count(*) > 0 FROM kanon.pending_changes
approve         SELECT kanon.approve_change('0')
reject          SELECT kanon.reject_change('0')
node            ALTER SYSTEM RESET kanon.suspended
peer            ALTER SERVER nobody OPTIONS (SET suspended 'true')
peer's rules    ALTER SERVER nobody OPTIONS (SET may_query 'false')
invite          SELECT kanon.invite_node(valid_for => '1 minute')
accept          SELECT kanon.accept_invite('no invite')
remove          SELECT kanon.remove_node('nobody')
peers' rules    SELECT count(*) >= 0 FROM kanon.peers
audit           SELECT count(DISTINCT principal) > 1 FROM kanon.audit_log
literals        SELECT count(literals) > 0 FROM kanon.audit_log WHERE principal <> current_user
verify          SELECT ok FROM kanon.audit_verify()
all budgets     SELECT count(DISTINCT principal) > 1 FROM kanon.budget
";

/// What each may: `ok`, a value, or a SQLSTATE.
const VERDICTS: &str = include_str!("matrix/verdicts.txt");

async fn hospital() -> Federation {
    let mut people = "pid,age\n".to_owned();
    (0..200).for_each(|i| writeln!(people, "{i},{}", 20 + i % 50).unwrap());
    let mut setup = vec!["CREATE PRIVACY UNIT patient WITH (budget_epsilon = 1000, budget_delta = 1e-3)".to_owned()];
    for table in TABLES {
        setup.push(format!("CREATE EXTERNAL TABLE {table} STORED AS CSV LOCATION '{{dir}}/people.csv'"));
        setup.push(format!("REVOKE SELECT ON {table} FROM {}", ADMIN.0));
        setup.push(match table {
            "open_t" => format!("ALTER TABLE {table} SET (access = 'open')"),
            "private_t" => format!(
                "ALTER TABLE {table} SET (access = 'private', unit = 'pid', unit_kind = 'patient', unit_unique = true, min_cohort = 10, epsilon_per_query = 1, delta_per_query = 1e-8)"
            ),
            _ => format!(
                "ALTER TABLE {table} SET (access = 'cohort', unit = 'pid', unit_kind = 'patient', unit_unique = true, min_cohort = 10)"
            ),
        });
    }
    let others = ["other", "keeper"].map(|role| format!("CREATE ROLE {role} LOGIN PASSWORD 'the same secret'"));
    setup.extend(others);
    for role in ROLES {
        setup.push(format!("CREATE ROLE {role}_r LOGIN PASSWORD 'the same secret'"));
        match role {
            "nobody" => {}
            "plain" | "granted" => setup.push(format!("GRANT analyst TO {role}_r")),
            builtin => setup.push(format!("GRANT {builtin} TO {role}_r")),
        }
    }
    setup.extend(TABLES[..3].iter().map(|table| format!("GRANT SELECT ON {table} TO granted_r")));
    let spec = SiteSpec { id: "hospital", setup, files: vec![("people.csv".to_owned(), people.into_bytes())] };
    Federation::start(vec![spec]).await
}

/// A role's connections.
struct Asker<'s> {
    site: &'s Site,
    role: &'static str,
    pg: Client,
    flight: FlightClient,
}

impl Asker<'_> {
    /// What a statement comes to, over each protocol; one word if they agree.
    async fn verdict(&mut self, sql: &str, number: &mut u32, dir: &str) -> String {
        let mut next = || {
            *number += 1;
            let role = format!("{}_r", self.role);
            sql.replace("{n}", &number.to_string()).replace("{role}", &role).replace("{dir}", dir)
        };
        let of = |rows: Vec<String>| match rows.first().map(String::as_str) {
            Some(word @ ("t" | "f" | "true" | "false")) if rows.len() == 1 => word[..1].to_owned(),
            _ => "ok".to_owned(),
        };
        let simple = match self.pg.ask(&next()).await {
            Ok(answer) => of(answer.lines()),
            Err(error) => error.code,
        };
        let extended = match self.pg.inner.prepare(&next()).await {
            Ok(statement) => match self.pg.inner.query(&statement, &[]).await {
                Ok(rows) => {
                    of(rows.iter().filter_map(|row| row.try_get::<_, bool>(0).ok().map(|b| b.to_string())).collect())
                }
                Err(error) => error.code().map_or_else(|| error.to_string(), |code| code.code().to_owned()),
            },
            Err(error) => error.code().map_or_else(|| error.to_string(), |code| code.code().to_owned()),
        };
        // Sessions with the old one end.
        let sets_password = sql.contains("PASSWORD");
        let login = (format!("{}_r", self.role), PASSWORD);
        if sets_password {
            self.flight = FlightClient::connect(self.site.flight_port, (&login.0, login.1)).await;
        }
        let flight = match self.flight.ask(&next()).await {
            Ok(rows) => of(rows),
            Err(error) => error.code,
        };
        if sets_password {
            self.pg = self.site.connect((&login.0, login.1)).await.unwrap();
        }
        match simple == extended && simple == flight {
            true => simple,
            false => format!("{simple}/{extended}/{flight}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_may_what_the_table_says_and_nothing_else() {
    let federation = hospital().await;
    let site = &federation.sites[0];
    let dir = site.dir.display().to_string();
    let mut askers = Vec::new();
    for role in ROLES {
        let login = (format!("{role}_r"), PASSWORD);
        let login = (login.0.as_str(), login.1);
        let pg = site.connect(login).await.unwrap();
        askers.push(Asker { site, role, pg, flight: FlightClient::connect(site.flight_port, login).await });
    }
    let mut found = format!("{:<16}{:<10}", "statement", "over");
    ROLES.iter().for_each(|role| write!(found, " {role:<8}").unwrap());
    found = format!("{}\n", found.trim_end());
    let (mut number, mut cells) = (0, 0);
    let kinds = |text: &'static str| text.lines().filter(|line| !line.is_empty()).map(|line| line.split_at(16));
    let over_tables =
        kinds(OVER_TABLES).flat_map(|(kind, sql)| TABLES.map(|table| (kind, table, sql.replace("{t}", table))));
    let over_node = kinds(OVER_NODE).map(|(kind, sql)| (kind, "-", sql.to_owned()));
    for (kind, over, sql) in over_tables.chain(over_node) {
        let mut line = format!("{kind:<16}{over:<10}");
        for asker in &mut askers {
            write!(line, " {:<8}", asker.verdict(&sql, &mut number, &dir).await).unwrap();
            cells += 3;
        }
        writeln!(found, "{}", line.trim_end()).unwrap();
    }
    assert!(cells >= 500, "{cells}");
    let different: Vec<String> = found
        .lines()
        .zip(VERDICTS.lines().chain(std::iter::repeat("")))
        .filter(|(found, expected)| found.trim_end() != expected.trim_end())
        .map(|(found, expected)| format!("expected {expected}\n   found {found}"))
        .collect();
    assert!(
        different.is_empty() && found.lines().count() == VERDICTS.lines().count(),
        "{}\n\nall:\n{found}",
        different.join("\n")
    );
}
