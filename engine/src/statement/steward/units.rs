//! CREATE, ALTER and DROP PRIVACY UNIT.

use super::{BudgetChange, StewardStatement, option};
use crate::error::{Error, Result, Sqlstate};
use crate::statement::reader::Reader;

/// `[IF NOT EXISTS] kind WITH (option = value, …)`
pub(super) fn create(reader: &mut Reader<'_>) -> Result<StewardStatement> {
    let if_not_exists = reader.take(&["if", "not", "exists"]);
    let kind = reader.name()?;
    if reader.at_end() {
        return Err(Error::new(Sqlstate::SyntaxError, "CREATE PRIVACY UNIT needs a budget").hint(
            "CREATE PRIVACY UNIT patient WITH (budget_epsilon = 10, budget_delta = 1e-6, budget_window = '30 days').",
        ));
    }
    reader.expect(&["with"])?;
    let options = reader.parenthesized(option)?;
    Ok(StewardStatement::CreatePrivacyUnit { if_not_exists, kind, options })
}

/// `kind [FOR role] SET (option = value, …)`, `kind [FOR role] RESET (option, …)`
pub(super) fn alter(reader: &mut Reader<'_>) -> Result<StewardStatement> {
    let kind = reader.name()?;
    let principal = if reader.take(&["for"]) { Some(reader.name()?) } else { None };
    if reader.sees("rename") {
        return Err(Error::unsupported("a privacy unit cannot be renamed")
            .hint("What was spent is kept under its name. Create another one for other people."));
    }
    let change = if reader.take(&["reset"]) {
        BudgetChange::Reset(reader.parenthesized(Reader::name)?)
    } else {
        reader.expect(&["set"])?;
        BudgetChange::Set(reader.parenthesized(option)?)
    };
    Ok(StewardStatement::AlterPrivacyUnit { kind, principal, change })
}

/// `[IF EXISTS] kind, … [RESTRICT]`
pub(super) fn drop(reader: &mut Reader<'_>) -> Result<StewardStatement> {
    let if_exists = reader.take(&["if", "exists"]);
    let kinds = reader.list(Reader::name)?;
    if reader.sees("cascade") {
        return Err(Error::unsupported("DROP PRIVACY UNIT does not drop the tables of the kind")
            .hint("DROP TABLE, or ALTER TABLE … SET (unit_kind = …), first."));
    }
    reader.take(&["restrict"]);
    Ok(StewardStatement::DropPrivacyUnit { if_exists, kinds })
}
