//! CREATE ROLE and ALTER ROLE.

use super::{Password, StewardStatement};
use crate::error::{Error, Result};
use crate::statement::reader::Reader;

#[derive(Default)]
struct RoleOptions {
    login: Option<bool>,
    password: Option<Option<Password>>,
    member_of: Vec<String>,
}

fn role_options(reader: &mut Reader<'_>) -> Result<RoleOptions> {
    let mut options = RoleOptions::default();
    reader.take(&["with"]);
    while !reader.at_end() {
        if reader.take(&["login"]) {
            options.login = Some(true);
        } else if reader.take(&["nologin"]) {
            options.login = Some(false);
        } else if reader.take(&["password"]) || reader.take(&["encrypted", "password"]) {
            options.password = Some(if reader.take(&["null"]) { None } else { Some(Password(reader.string()?)) });
        } else if reader.take(&["in", "role"]) || reader.take(&["in", "group"]) {
            options.member_of = reader.list(Reader::name)?;
        } else if reader
            .take_any(&["inherit", "nosuperuser", "nocreatedb", "nocreaterole", "noreplication", "nobypassrls"])
            .is_none()
        {
            if reader.peek().is_some_and(|l| l.word().is_some()) {
                return Err(Error::unsupported("a role has LOGIN or NOLOGIN, PASSWORD and IN ROLE, and no other options")
                    .hint("Rights come from the built-in roles: GRANT analyst, steward, auditor, operator or admin TO a role."));
            }
            return Err(reader.syntax_error());
        }
    }
    Ok(options)
}

pub(super) fn create_role(reader: &mut Reader<'_>, user: bool) -> Result<StewardStatement> {
    let name = reader.name()?;
    let options = role_options(reader)?;
    let password = options.password.flatten();
    Ok(StewardStatement::CreateRole {
        name,
        login: options.login.unwrap_or(user),
        password,
        member_of: options.member_of,
    })
}

pub(super) fn alter_role(reader: &mut Reader<'_>) -> Result<StewardStatement> {
    let name = reader.name()?;
    if reader.sees("set") || reader.sees("reset") {
        return super::settings::role(reader, name);
    }
    if reader.sees("rename") || reader.sees_all(&["in", "database"]) {
        return Err(Error::unsupported("names of roles, and settings in a database, cannot be changed"));
    }
    let start = reader.fork();
    let options = role_options(reader)?;
    if !options.member_of.is_empty() || (options.login.is_none() && options.password.is_none()) {
        return Err(start.syntax_error());
    }
    Ok(StewardStatement::AlterRole { name, login: options.login, password: options.password })
}
