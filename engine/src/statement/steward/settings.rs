//! Settings of roles, of peers and of the node: ALTER ROLE … SET, ALTER SERVER … OPTIONS, ALTER SYSTEM.

use super::StewardStatement;
use crate::error::{Error, Result};
use crate::statement::reader::Reader;
use datafusion::sql::sqlparser::tokenizer::Token;

/// `SET name = value`, `SET name TO value`, `RESET name`.
fn setting(reader: &mut Reader<'_>) -> Result<(String, Option<String>)> {
    if reader.take(&["reset"]) {
        if reader.sees("all") {
            return Err(Error::unsupported("RESET ALL is not supported here").hint("Name the setting to reset."));
        }
        return Ok((reader.dotted_name()?.join("."), None));
    }
    reader.expect(&["set"])?;
    let name = reader.dotted_name()?.join(".");
    if !reader.take_sign(&Token::Eq) {
        reader.expect(&["to"])?;
    }
    let value = if reader.take(&["default"]) { None } else { Some(reader.value()?) };
    Ok((name, value))
}

/// The rest of ALTER ROLE, if it is about a setting.
pub(super) fn role(reader: &mut Reader<'_>, name: String) -> Result<StewardStatement> {
    let (setting, value) = setting(reader)?;
    Ok(StewardStatement::SetRole { name, setting, value })
}

/// `name OPTIONS ([SET | ADD | DROP] option [value], …)`
pub(super) fn server(reader: &mut Reader<'_>) -> Result<StewardStatement> {
    let name = reader.name()?;
    if !reader.sees("options") {
        return Err(Error::unsupported("ALTER SERVER changes options only")
            .hint("ALTER SERVER … OPTIONS (SET suspended 'true'). Peers come by kanon.invite_node() or by the node's configuration."));
    }
    reader.expect(&["options"])?;
    let options = reader.parenthesized(|reader| {
        if reader.take(&["drop"]) {
            return Ok((reader.name()?, None));
        }
        if !reader.take(&["set"]) {
            reader.take(&["add"]);
        }
        Ok((reader.name()?, Some(reader.value()?)))
    })?;
    Ok(StewardStatement::AlterServer { name, options })
}

/// The rest of ALTER SYSTEM.
pub(super) fn system(reader: &mut Reader<'_>) -> Result<StewardStatement> {
    let (setting, value) = setting(reader)?;
    Ok(StewardStatement::AlterSystem { setting, value })
}
