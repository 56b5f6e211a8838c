//! COPY … TO STDOUT and its options, in the present form and that from before version 9.

use datafusion::sql::sqlparser::ast::{Ident, ObjectName, Query};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::front::{on_or_off, option_value, read_only};
use super::reader::Reader;
use super::{Copy, CopyFormat, ForceQuote, Statement, ignored, lexer};
use crate::error::{Error, Result, Sqlstate};

/// Reads what follows COPY.
pub(super) fn copy(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.advance();
    let mut copy = Copy {
        query: Box::new(table_query(&ObjectName::from(vec![Ident::new("t")]), &[])?),
        format: CopyFormat::Text,
        delimiter: None,
        null: None,
        header: false,
        quote: None,
        escape: None,
        force_quote: ForceQuote::Needed,
    };
    if reader.sees("binary") && !reader.peek_after(1).is_some_and(|l| l.is("to") || l.is("from")) {
        reader.advance();
        copy.format = CopyFormat::Binary;
    }
    let source = if reader.sees_sign(&Token::LParen) {
        let only = reader.refuse_only();
        let mut query = reader.query_in_parentheses()?;
        only.and_then(|()| ignored::prepare(&mut query)).map(|()| query)
    } else {
        let table = reader.object_name()?;
        let columns = if reader.sees_sign(&Token::LParen) { reader.parenthesized(Reader::ident)? } else { Vec::new() };
        if reader.take(&["from"]) {
            return Ok(Statement::Refused(read_only("COPY FROM")));
        }
        table_query(&table, &columns).map(Box::new)
    };
    reader.expect(&["to"])?;
    if !reader.take(&["stdout"]) {
        let refusal = Error::unsupported("COPY to a file or program is not supported");
        return Ok(Statement::Refused(refusal.hint("Use COPY … TO STDOUT, or psql's \\copy.")));
    }
    copy_options(reader, &mut copy)?;
    reader.end()?;
    check_copy(&copy)?;
    Ok(match source {
        Ok(query) => Statement::Copy(Copy { query, ..copy }),
        Err(error) => Statement::Refused(error),
    })
}

/// `SELECT columns FROM table`.
fn table_query(table: &ObjectName, columns: &[Ident]) -> Result<Query> {
    let names: Vec<String> = columns.iter().map(ToString::to_string).collect();
    let columns = if names.is_empty() { "*".to_owned() } else { names.join(", ") };
    let text = format!("SELECT {columns} FROM {table}");
    let tokens = lexer::lex(&text)?;
    Reader::new(&text, &tokens).query().map(|query| *query)
}

fn copy_options(reader: &mut Reader<'_>, copy: &mut Copy) -> Result<()> {
    reader.take(&["with"]);
    if reader.take_sign(&Token::LParen) {
        loop {
            copy_option(reader, copy)?;
            if !reader.take_sign(&Token::Comma) {
                return reader.expect_sign(&Token::RParen);
            }
        }
    }
    // The form from before version 9.
    while !reader.at_end() {
        if reader.take(&["binary"]) {
            copy.format = CopyFormat::Binary;
        } else if reader.take(&["csv"]) {
            copy.format = CopyFormat::Csv;
        } else if reader.take(&["header"]) {
            copy.header = true;
        } else if reader.take(&["force", "quote"]) {
            copy.force_quote = if reader.take_sign(&Token::Mul) {
                ForceQuote::All
            } else {
                ForceQuote::Columns(reader.list(Reader::ident)?)
            };
        } else if let Some(option) =
            reader.take_any(&["delimiter", "delimiters", "null", "quote", "escape", "encoding"])
        {
            reader.take(&["as"]);
            let value = reader.string()?;
            copy_text_option(option.trim_end_matches('s'), value, copy)?;
        } else {
            return Err(reader.syntax_error());
        }
    }
    Ok(())
}

fn copy_option(reader: &mut Reader<'_>, copy: &mut Copy) -> Result<()> {
    let option = reader.name()?;
    match option.as_str() {
        "format" => {
            copy.format = match reader.value()?.as_str() {
                "text" => CopyFormat::Text,
                "csv" => CopyFormat::Csv,
                "binary" => CopyFormat::Binary,
                other => {
                    return Err(Error::new(
                        Sqlstate::InvalidParameterValue,
                        format!("COPY format \"{other}\" not recognized"),
                    ));
                }
            };
        }
        "header" => copy.header = on_or_off("header", option_value(reader)?.as_deref())?,
        "freeze" => {
            on_or_off("freeze", option_value(reader)?.as_deref())?;
        }
        "force_quote" => {
            copy.force_quote = if reader.take_sign(&Token::Mul) {
                ForceQuote::All
            } else {
                ForceQuote::Columns(reader.parenthesized(Reader::ident)?)
            };
        }
        "delimiter" | "null" | "quote" | "escape" | "encoding" => {
            let value = reader.string()?;
            copy_text_option(&option, value, copy)?;
        }
        _ => return Err(Error::new(Sqlstate::SyntaxError, format!("option \"{option}\" not recognized"))),
    }
    Ok(())
}

fn copy_text_option(option: &str, value: String, copy: &mut Copy) -> Result<()> {
    let byte = |value: &str| match value.as_bytes() {
        [byte] if *byte != b'\n' && *byte != b'\r' => Ok(*byte),
        _ => Err(Error::new(
            Sqlstate::InvalidParameterValue,
            format!("COPY {option} must be a single one-byte character"),
        )),
    };
    match option {
        "delimiter" => copy.delimiter = Some(byte(&value)?),
        "quote" => copy.quote = Some(byte(&value)?),
        "escape" => copy.escape = Some(byte(&value)?),
        "null" if value.contains(['\n', '\r']) => {
            return Err(Error::new(
                Sqlstate::InvalidParameterValue,
                "COPY null representation cannot use newline or carriage return",
            ));
        }
        "null" => copy.null = Some(value),
        _ => {
            let name = value.to_ascii_lowercase().replace(['-', '_'], "");
            if !matches!(name.as_str(), "utf8" | "unicode") {
                return Err(Error::unsupported("COPY writes UTF8 only"));
            }
        }
    }
    Ok(())
}

fn check_copy(copy: &Copy) -> Result<()> {
    let wrong = |text: &str| Err(Error::new(Sqlstate::SyntaxError, text));
    match copy.format {
        CopyFormat::Binary if copy.delimiter.is_some() => wrong("cannot specify DELIMITER in BINARY mode"),
        CopyFormat::Binary if copy.null.is_some() => wrong("cannot specify NULL in BINARY mode"),
        CopyFormat::Binary if copy.header => wrong("cannot specify HEADER in BINARY mode"),
        CopyFormat::Text | CopyFormat::Binary if copy.quote.is_some() => wrong("COPY quote available only in CSV mode"),
        CopyFormat::Text | CopyFormat::Binary if copy.escape.is_some() => {
            wrong("COPY escape available only in CSV mode")
        }
        CopyFormat::Text | CopyFormat::Binary if copy.force_quote != ForceQuote::Needed => {
            wrong("COPY force quote available only in CSV mode")
        }
        _ => Ok(()),
    }
}
