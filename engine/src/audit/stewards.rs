//! The text of a steward's or an admin's statement in the log: names and policies in full, passwords and secrets of sources never.

use super::said::{is_secret, quoted, scrubbed};
use crate::statement::StewardStatement;
use crate::statement::steward::{BudgetChange, Relations, TableChange, TableName};

/// A table's name.
pub(super) fn table(name: &TableName) -> String {
    match &name.schema {
        Some(schema) => format!("{}.{}", quoted(schema), quoted(&name.name)),
        None => quoted(&name.name),
    }
}

fn tables(names: &[TableName]) -> String {
    names.iter().map(table).collect::<Vec<_>>().join(", ")
}

fn roles(names: &[String]) -> String {
    names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ")
}

/// Policies and budgets: what they are set to belongs to the log.
fn options(options: &[(String, String)]) -> String {
    options.iter().map(|(name, value)| format!("{name} = '{}'", shown(name, value))).collect::<Vec<_>>().join(", ")
}

fn shown(name: &str, value: &str) -> String {
    if is_secret(name) { "***".to_owned() } else { scrubbed(value).replace('\'', "''") }
}

/// Where data is: without user, password and query, in which signatures stand.
pub(crate) fn location(url: &str) -> String {
    let plain = url.split_once(['?', '#']).map_or(url, |(plain, _)| plain);
    scrubbed(plain).replace('\'', "''")
}

fn exists(when: bool, words: &str) -> &str {
    if when { words } else { "" }
}

fn setting(name: &str, value: Option<&str>) -> String {
    match value {
        Some(value) => format!("SET {name} = '{}'", shown(name, value)),
        None => format!("RESET {name}"),
    }
}

/// Its text, without what people wrote in their own words.
pub(crate) fn text_of(statement: &StewardStatement) -> String {
    text(statement, &mut Vec::new())
}

/// Its text. What people wrote in their own words goes to `literals`.
pub(super) fn text(statement: &StewardStatement, literals: &mut Vec<String>) -> String {
    let tag = statement.tag();
    match statement {
        StewardStatement::CreateExternalTable(new) => {
            let mut text = format!(
                "{tag} {}{} STORED AS {} LOCATION '{}'",
                exists(new.if_not_exists, "IF NOT EXISTS "),
                table(&new.name),
                new.format.to_uppercase(),
                location(&new.location)
            );
            if !new.options.is_empty() {
                // Options of sources are for the source to know: no value of theirs is kept.
                let names = new.options.iter().map(|(name, _)| format!("{name} '***'")).collect::<Vec<_>>().join(", ");
                text.push_str(&format!(" OPTIONS ({names})"));
            }
            text
        }
        StewardStatement::DropTable { if_exists, names } => {
            format!("{tag} {}{}", exists(*if_exists, "IF EXISTS "), tables(names))
        }
        StewardStatement::AlterTable { name, changes, .. } => {
            let change = |change: &TableChange| match change {
                TableChange::Set(set) => format!("SET ({})", options(set)),
                TableChange::Reset(names) => format!("RESET ({})", names.join(", ")),
                TableChange::SetColumn(column, set) => {
                    format!("ALTER COLUMN {} SET ({})", quoted(column), options(set))
                }
                TableChange::ResetColumn(column, names) => {
                    format!("ALTER COLUMN {} RESET ({})", quoted(column), names.join(", "))
                }
            };
            format!("{tag} {} {}", table(name), changes.iter().map(change).collect::<Vec<_>>().join(", "))
        }
        StewardStatement::Comment { table: of, column, text } => {
            literals.extend(text.clone());
            let said = if text.is_some() { "?" } else { "NULL" };
            match column {
                Some(column) => format!("{tag} ON COLUMN {}.{} IS {said}", table(of), quoted(column)),
                None => format!("{tag} ON TABLE {} IS {said}", table(of)),
            }
        }
        StewardStatement::CreateRole { name, login, password, member_of } => {
            let mut text = format!("{tag} {} {}", quoted(name), if *login { "LOGIN" } else { "NOLOGIN" });
            text.push_str(exists(password.is_some(), " PASSWORD '***'"));
            if !member_of.is_empty() {
                text.push_str(&format!(" IN ROLE {}", roles(member_of)));
            }
            text
        }
        StewardStatement::AlterRole { name, login, password } => {
            let mut text = format!("{tag} {}", quoted(name));
            if let Some(login) = login {
                text.push_str(if *login { " LOGIN" } else { " NOLOGIN" });
            }
            match password {
                Some(Some(_)) => text.push_str(" PASSWORD '***'"),
                Some(None) => text.push_str(" PASSWORD NULL"),
                None => {}
            }
            text
        }
        StewardStatement::SetRole { name, setting: option, value } => {
            format!("{tag} {} {}", quoted(name), setting(option, value.as_deref()))
        }
        StewardStatement::AlterSystem { setting: option, value } => {
            format!("{tag} {}", setting(option, value.as_deref()))
        }
        StewardStatement::AlterServer { name, options } => {
            let option = |(name, value): &(String, Option<String>)| match value {
                Some(value) => format!("SET {name} '{}'", shown(name, value)),
                None => format!("DROP {name}"),
            };
            let options = options.iter().map(option).collect::<Vec<_>>().join(", ");
            format!("{tag} {} OPTIONS ({options})", quoted(name))
        }
        StewardStatement::DropRole { if_exists, names } => {
            format!("{tag} {}{}", exists(*if_exists, "IF EXISTS "), roles(names))
        }
        StewardStatement::Usage { grant, schemas, grantees } => {
            let to = if *grant { "TO" } else { "FROM" };
            format!("{tag} USAGE ON SCHEMA {} {to} {}", roles(schemas), roles(grantees))
        }
        StewardStatement::Select { grant, columns, on, grantees } => {
            let columns = if columns.is_empty() { String::new() } else { format!(" ({})", roles(columns)) };
            let on = match on {
                Relations::Tables(names) => tables(names),
                Relations::AllInSchemas(schemas) => format!("ALL TABLES IN SCHEMA {}", roles(schemas)),
            };
            format!("{tag} SELECT{columns} ON {on} {} {}", if *grant { "TO" } else { "FROM" }, roles(grantees))
        }
        StewardStatement::Membership { grant, roles: granted, members } => {
            let (tag, to) = if *grant { ("GRANT", "TO") } else { ("REVOKE", "FROM") };
            format!("{tag} {} {to} {}", roles(granted), roles(members))
        }
        StewardStatement::CreatePrivacyUnit { if_not_exists, kind, options: set } => {
            format!("{tag} {}{} WITH ({})", exists(*if_not_exists, "IF NOT EXISTS "), quoted(kind), options(set))
        }
        StewardStatement::AlterPrivacyUnit { kind, principal, change } => {
            let whose = principal.as_ref().map(|role| format!(" FOR {}", quoted(role))).unwrap_or_default();
            let change = match change {
                BudgetChange::Set(set) => format!("SET ({})", options(set)),
                BudgetChange::Reset(names) => format!("RESET ({})", names.join(", ")),
            };
            format!("{tag} {}{whose} {change}", quoted(kind))
        }
        StewardStatement::DropPrivacyUnit { if_exists, kinds } => {
            format!("{tag} {}{}", exists(*if_exists, "IF EXISTS "), roles(kinds))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;
    use crate::statement::{Statement, parse};

    #[test]
    fn passwords_and_secrets_are_not_in_it() {
        for (sql, shown) in [
            (
                "CREATE ROLE ana LOGIN PASSWORD 'hunter2' IN ROLE analyst",
                "CREATE ROLE ana LOGIN PASSWORD '***' IN ROLE analyst",
            ),
            ("CREATE USER \"Ana B\" PASSWORD 'hunter2'", "CREATE ROLE \"Ana B\" LOGIN PASSWORD '***'"),
            ("ALTER ROLE ana PASSWORD 'hunter2'", "ALTER ROLE ana PASSWORD '***'"),
            ("ALTER ROLE ana PASSWORD NULL", "ALTER ROLE ana PASSWORD NULL"),
            ("ALTER ROLE ana NOLOGIN", "ALTER ROLE ana NOLOGIN"),
            (
                "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 'https://ana:hunter2@a.example/t.csv?sig=hunter2' OPTIONS ('aws.secret' 'hunter2', 'delimiter' ';')",
                "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 'https://***@a.example/t.csv' OPTIONS (aws.secret '***', delimiter '***')",
            ),
            (
                "ALTER TABLE t SET (access = 'cohort', min_cohort = 10)",
                "ALTER TABLE t SET (access = 'cohort', min_cohort = '10')",
            ),
            ("ALTER TABLE t SET (password = 'hunter2')", "ALTER TABLE t SET (password = '***')"),
            (
                "ALTER TABLE s.t ALTER COLUMN a SET (domain = '{x,y}')",
                "ALTER TABLE s.t ALTER COLUMN a SET (domain = '{x,y}')",
            ),
            ("COMMENT ON COLUMN t.a IS 'hunter2'", "COMMENT ON COLUMN t.a IS ?"),
            ("GRANT SELECT ON t, federation.u TO ana, public", "GRANT SELECT ON t, federation.u TO ana, public"),
            ("GRANT select (a, \"B c\") ON t TO ana", "GRANT SELECT (a, \"B c\") ON t TO ana"),
            ("REVOKE USAGE ON SCHEMA federation FROM public", "REVOKE USAGE ON SCHEMA federation FROM public"),
            ("REVOKE analyst FROM ana", "REVOKE analyst FROM ana"),
            ("CREATE PRIVACY UNIT p WITH (budget_epsilon = 1)", "CREATE PRIVACY UNIT p WITH (budget_epsilon = '1')"),
            ("DROP TABLE IF EXISTS t", "DROP TABLE IF EXISTS t"),
        ] {
            let Statement::Steward(statement) = parse(sql).unwrap() else { panic!("{sql}") };
            assert_eq!(text(&statement, &mut Vec::new()), shown, "{sql}");
        }
    }
}
