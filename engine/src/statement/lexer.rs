//! A text as tokens with their places in it.

use std::ops::Range;

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, Word};

use super::bounds;
use super::dialect::BoundedDialect;
use crate::error::{Error, Result, Sqlstate};

/// A token that means something: no white space, no comment.
#[derive(Debug, Clone)]
pub(super) struct Lexeme {
    /// It, as the parser wants it.
    pub(super) token: TokenWithSpan,
    /// Where it stands, in bytes.
    pub(super) bytes: Range<usize>,
    /// Where it begins, in characters from 1.
    pub(super) at: usize,
}

impl Lexeme {
    /// The unquoted word it is, if it is one.
    pub(super) fn word(&self) -> Option<&Word> {
        match &self.token.token {
            Token::Word(word) if word.quote_style.is_none() => Some(word),
            _ => None,
        }
    }
    /// Whether it is this unquoted word, whatever its case.
    pub(super) fn is(&self, word: &str) -> bool {
        self.word().is_some_and(|w| w.value.eq_ignore_ascii_case(word))
    }
    /// The keyword it is; `NoKeyword` for everything else.
    pub(super) fn keyword(&self) -> Keyword {
        self.word().map_or(Keyword::NoKeyword, |w| w.keyword)
    }
}

/// Reads a text within the bounds of its size and number of tokens.
///
/// # Errors
/// 54001 beyond the bounds; 42601 with a position for what is not closed.
pub(super) fn lex(text: &str) -> Result<Vec<Lexeme>> {
    bounds::check_text(text)?;
    let dialect = BoundedDialect::new(1);
    let mut tokens = Vec::new();
    let outcome = Tokenizer::new(&dialect, text).tokenize_with_location_into_buf(&mut tokens);
    let mut places = Places::new(text);
    let mut lexemes = Vec::new();
    for token in tokens {
        let (start, at) = places.advance(token.span.start);
        let (end, _) = places.advance(token.span.end);
        if !matches!(token.token, Token::Whitespace(_)) {
            lexemes.push(Lexeme { token, bytes: start..end, at });
        }
    }
    if let Err(error) = outcome {
        // What could not be read begins where the last token ended, after white space that is a token too.
        let (start, at) = (places.byte, places.char + 1);
        return Err(unreadable(&error.message, text.get(start..).unwrap_or_default()).at(at));
    }
    Ok(lexemes)
}

fn unreadable(message: &str, rest: &str) -> Error {
    let near: String = rest.chars().take(40).collect();
    let lower = message.to_ascii_lowercase();
    let what = if lower.contains("comment") {
        "unterminated /* comment"
    } else if rest.starts_with('"') {
        "unterminated quoted identifier"
    } else if rest.starts_with('$') {
        "unterminated dollar-quoted string"
    } else if lower.contains("unterminated") {
        "unterminated quoted string"
    } else {
        "syntax error"
    };
    if near.is_empty() {
        return Error::new(Sqlstate::SyntaxError, format!("{what} at end of input"));
    }
    // A string that is not closed may be a password: it is not repeated.
    let shown: String = near.chars().take_while(|c| !c.is_whitespace()).take(1).collect();
    Error::new(Sqlstate::SyntaxError, format!("{what} at or near \"{shown}\""))
}

/// Turns the tokenizer's lines and columns, which only grow, into bytes and characters.
struct Places<'a> {
    text: &'a str,
    byte: usize,
    char: usize,
    line: u64,
    column: u64,
}

impl<'a> Places<'a> {
    fn new(text: &'a str) -> Self {
        Places { text, byte: 0, char: 0, line: 1, column: 1 }
    }

    /// The byte offset of a location and its character from 1.
    fn advance(&mut self, to: Location) -> (usize, usize) {
        let rest = self.text.get(self.byte..).unwrap_or_default();
        for c in rest.chars() {
            if (self.line, self.column) >= (to.line, to.column) {
                break;
            }
            self.byte += c.len_utf8();
            self.char += 1;
            if c == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
        (self.byte, self.char + 1)
    }
}
