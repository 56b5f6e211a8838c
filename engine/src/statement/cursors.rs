//! DECLARE, FETCH and MOVE.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::reader::Reader;
use super::{Declare, Direction, Fetch, Statement, front};
use crate::error::Result;

/// Reads DECLARE.
pub(super) fn declare(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.advance();
    let name = reader.name()?;
    let mut binary = false;
    let mut scroll = None;
    while !reader.take(&["cursor"]) {
        if reader.take(&["binary"]) {
            binary = true;
        } else if reader.take(&["no", "scroll"]) {
            scroll = Some(false);
        } else if reader.take(&["scroll"]) {
            scroll = Some(true);
        } else if reader.take_any(&["insensitive", "asensitive"]).is_none() {
            return Err(reader.syntax_error());
        }
    }
    let hold = reader.take(&["with", "hold"]);
    if !hold {
        reader.take(&["without", "hold"]);
    }
    reader.expect(&["for"])?;
    Ok(match front::query(reader)? {
        Ok(query) => Statement::Declare(Declare { name, binary, scroll, hold, query }),
        Err(error) => Statement::Refused(error),
    })
}

/// Reads FETCH or MOVE.
pub(super) fn fetch(reader: &mut Reader<'_>) -> Result<Statement> {
    let only_move = reader.name()? == "move";
    // A last word is the cursor's name, even one such as NEXT.
    let direction = if reader.peek_after(1).is_none() { Direction::Forward(Some(1)) } else { direction(reader)? };
    if reader.peek_after(1).is_some() && reader.take_any(&["from", "in"]).is_none() {
        return Err(reader.syntax_error());
    }
    let cursor = reader.name()?;
    reader.finish(Statement::Fetch(Fetch { cursor, direction, only_move }))
}

fn direction(reader: &mut Reader<'_>) -> Result<Direction> {
    let count = |reader: &mut Reader<'_>| -> Result<Option<i64>> {
        if reader.take(&["all"]) {
            Ok(None)
        } else if matches!(reader.peek().map(|l| &l.token.token), Some(Token::Number(..) | Token::Minus | Token::Plus))
        {
            reader.integer().map(Some)
        } else {
            Ok(Some(1))
        }
    };
    let word = reader.take_any(&["next", "prior", "first", "last", "absolute", "relative", "forward", "backward"]);
    Ok(match word {
        Some("next") => Direction::Forward(Some(1)),
        Some("prior") => Direction::Backward(Some(1)),
        Some("first") => Direction::Absolute(1),
        Some("last") => Direction::Absolute(-1),
        Some("absolute") => Direction::Absolute(reader.integer()?),
        Some("relative") => Direction::Relative(reader.integer()?),
        Some("backward") => Direction::Backward(count(reader)?),
        Some(_) | None => Direction::Forward(count(reader)?),
    })
}
