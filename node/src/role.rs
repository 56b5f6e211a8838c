//! `kanon role`: roles, tokens and API keys, at a running node. It says in SQL what an admin could say in psql.

use anyhow::{Context, Result};

use crate::client::{Client, connect};
use crate::{RoleArgs, RoleCommand, init};

/// `kanon role`.
pub(crate) async fn run(args: RoleArgs) -> Result<()> {
    match args.command {
        RoleCommand::Create { name, in_role, password_file, connect: to } => {
            let (password, made) = init::password(password_file.as_deref())?;
            let mut sql = format!("CREATE ROLE {} LOGIN PASSWORD {}", ident(&name), text(&password));
            if !in_role.is_empty() {
                let roles: Vec<String> = in_role.iter().map(|role| ident(role)).collect();
                sql.push_str(&format!(" IN ROLE {}", roles.join(", ")));
            }
            connect(&to).await?.ask(&sql).await?;
            println!("Role {name} may log in.");
            if made {
                println!("Its password, shown only now: {password}");
            }
        }
        RoleCommand::Token { name, ttl, connect: to } => {
            let ttl = ttl.map(|ttl| format!(", valid_for => {}", text(&ttl))).unwrap_or_default();
            let sql = format!("SELECT kanon.create_token(role => {}{ttl})", text(&name));
            println!("{}", one(&connect(&to).await?, &sql).await?);
        }
        RoleCommand::ApiKey { name, service, ttl, scopes, connect: to } => {
            let mut arguments = vec![format!("name => {}", text(&service)), format!("role => {}", text(&name))];
            arguments.extend(ttl.map(|ttl| format!("valid_for => {}", text(&ttl))));
            if !scopes.is_empty() {
                arguments.push(format!("scopes => {}", text(&scopes.join(","))));
            }
            let key =
                one(&connect(&to).await?, &format!("SELECT kanon.create_api_key({})", arguments.join(", "))).await?;
            println!("{key}");
        }
    }
    Ok(())
}

/// The one value of an answer.
pub(crate) async fn one(client: &Client, sql: &str) -> Result<String> {
    let (tables, _) = client.ask(sql).await?;
    let row = tables.into_iter().next().and_then(|table| table.rows.into_iter().next());
    row.and_then(|row| row.into_iter().next().flatten()).context("the node answered nothing")
}

fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in SQL.
pub(crate) fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}
