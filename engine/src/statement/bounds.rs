//! Bounds on a statement, checked before anything recurses over it.
//!
//! The parser, the planner and the optimizer recurse over the tree of a statement, and a tree too deep for the stack would end
//! the process. So a text is measured as flat tokens first. What is beyond a bound gets 54001 with the bound in its text.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::lexer::Lexeme;
use crate::error::{Error, Result, Sqlstate};

/// Bytes of a text, of one statement or several: 1 MiB.
pub const MAX_TEXT_BYTES: usize = 1024 * 1024;
/// Words, signs, literals and white space of a text, estimated before it is read: bounds the memory for reading it.
pub const MAX_RAW_TOKENS: usize = 400_000;
/// Words, signs and literals of one statement.
pub const MAX_TOKENS: usize = 100_000;
/// Open parentheses, brackets and CASEs at any place.
pub const MAX_NESTING: usize = 200;
/// Operators on the way from the root of a statement to any place in it: the depth of its tree.
pub const MAX_OPERATORS: usize = 5_000;
/// Tables joined in one statement.
pub const MAX_JOINS: usize = 200;
/// UNION, INTERSECT and EXCEPT of one statement.
pub const MAX_SET_OPERATIONS: usize = 500;
/// Items of one list.
pub const MAX_LIST_ITEMS: usize = 32_768;
/// Tables read by a statement once every reference to a WITH query is replaced by that query.
pub const MAX_EXPANDED_TABLES: u64 = 2_000;
/// Expressions the parser may begin to read for every token before it is stopped.
pub(super) const STEPS_PER_TOKEN: u64 = 20;
/// Times that the tokens of a statement may be read again because a parenthesis in FROM can begin a query or a join.
const MAX_REREAD: u64 = 16;
/// Depth that the parser may recurse: every nesting takes it a few levels, every prefix operator one.
pub(super) const PARSER_DEPTH: usize = 2_000;

/// The error for a statement beyond a bound.
pub(super) fn beyond(limit: impl std::fmt::Display, what: &str) -> Error {
    Error::new(Sqlstate::StatementTooComplex, "statement too complex")
        .detail(format!("A statement may have at most {limit} {what}."))
}

/// Checks the size of a text and, roughly, the number of its tokens.
pub(super) fn check_text(text: &str) -> Result<()> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(beyond(MAX_TEXT_BYTES, "bytes"));
    }
    // Most texts are so short that they cannot have too many.
    if text.len() > MAX_RAW_TOKENS && raw_tokens(text) > MAX_RAW_TOKENS {
        return Err(beyond(MAX_RAW_TOKENS, "words, signs and spaces"));
    }
    Ok(())
}

/// Counts words, signs and white space outside of strings and comments. It needs to be right only about plain text: what it gets
/// wrong about odd quotes changes no meaning, only where a very long text is refused.
fn raw_tokens(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut count = 0;
    let mut i = 0;
    while let Some(&byte) = bytes.get(i) {
        count += 1;
        let rest = text.get(i..).unwrap_or_default();
        i += match byte {
            b'\'' | b'"' => 1 + rest.get(1..).and_then(|r| r.find(byte as char)).map_or(rest.len(), |n| n + 1),
            b'-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            b'/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |n| n + 2),
            b'$' => dollar_quote(rest).unwrap_or(1),
            _ if is_word(byte) => bytes.iter().skip(i).take_while(|b| is_word(**b)).count(),
            _ => 1,
        };
    }
    count
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// The length of a dollar-quoted string at the start of `rest`, if there is one.
fn dollar_quote(rest: &str) -> Option<usize> {
    let tag_end = rest.get(1..)?.find('$')? + 2;
    let tag = rest.get(..tag_end)?;
    if !tag.get(1..tag_end - 1)?.bytes().all(is_word) {
        return None;
    }
    let body = rest.get(tag_end..)?;
    body.find(tag).map(|n| tag_end + n + tag_end)
}

/// What is open at a place.
struct Frame {
    case: bool,
    operators: usize,
    items: usize,
    in_from: bool,
    /// How often the parser may read what is in here.
    readings: u64,
    /// Parentheses directly around each other since one that FROM, JOIN or a comma introduced; 0 for others.
    run: u64,
    /// How often it may read what is around those.
    base: u64,
}

impl Frame {
    fn new(case: bool, base: u64, run: u64) -> Self {
        // What is in the nth of a run of parentheses is read up to n times: each of them may begin a query, and if not, a join.
        Frame { case, operators: 0, items: 1, in_from: false, readings: base.saturating_mul(run.max(1)), run, base }
    }
}

/// Measures a statement.
///
/// # Errors
/// 54001 beyond a bound; 42601 at a closing parenthesis that nothing opened.
pub(super) fn check_tokens(tokens: &[Lexeme]) -> Result<()> {
    if tokens.len() > MAX_TOKENS {
        return Err(beyond(MAX_TOKENS, "words, signs and literals"));
    }
    let mut measure = Measure::default();
    let mut previous: Option<&Lexeme> = None;
    // `int[][][]…` nests a type without nesting a parenthesis.
    let mut dimensions = 0;
    for lexeme in tokens {
        measure.token(lexeme, previous)?;
        dimensions = match (previous.map(|p| &p.token.token), &lexeme.token.token) {
            (Some(Token::LBracket), Token::RBracket) => dimensions + 1,
            (_, Token::LBracket) => dimensions,
            _ => 0,
        };
        if dimensions > MAX_NESTING {
            return Err(beyond(MAX_NESTING, "dimensions of an array type"));
        }
        previous = Some(lexeme);
    }
    let budget = MAX_REREAD.saturating_mul(u64::try_from(tokens.len()).unwrap_or(u64::MAX).saturating_add(1_000));
    if measure.reads > budget {
        return Err(beyond(MAX_REREAD, "ways to read the parentheses in FROM"));
    }
    Ok(())
}

struct Measure {
    frames: Vec<Frame>,
    /// Operators of all open frames.
    operators: usize,
    joins: usize,
    set_operations: usize,
    reads: u64,
}

impl Default for Measure {
    fn default() -> Self {
        Measure { frames: vec![Frame::new(false, 1, 0)], operators: 0, joins: 0, set_operations: 0, reads: 0 }
    }
}

impl Measure {
    fn token(&mut self, lexeme: &Lexeme, previous: Option<&Lexeme>) -> Result<()> {
        self.reads = self.reads.saturating_add(self.frames.last().map_or(1, |f| f.readings));
        match &lexeme.token.token {
            Token::LParen | Token::LBracket | Token::LBrace => self.open(lexeme, previous),
            Token::RParen | Token::RBracket | Token::RBrace => {
                while self.frames.last().is_some_and(|f| f.case) {
                    self.close();
                }
                self.close();
                Ok(())
            }
            Token::Comma => self.comma(),
            Token::Word(word) if word.quote_style.is_none() => self.word(word.keyword, previous),
            token if is_operator(token) => self.operator(),
            _ => Ok(()),
        }
    }

    fn open(&mut self, lexeme: &Lexeme, previous: Option<&Lexeme>) -> Result<()> {
        let parenthesis = lexeme.token.token == Token::LParen;
        let (outer_run, outer_base, readings) = self.frames.last().map_or((0, 1, 1), |f| (f.run, f.base, f.readings));
        let frame = match previous {
            Some(p) if parenthesis && p.token.token == Token::LParen && outer_run > 0 => {
                Frame::new(false, outer_base, outer_run + 1)
            }
            Some(p) if parenthesis && starts_table(p) => Frame::new(false, readings, 1),
            _ => Frame::new(false, readings, 0),
        };
        self.push(frame)
    }

    fn push(&mut self, frame: Frame) -> Result<()> {
        self.frames.push(frame);
        if self.frames.len() > MAX_NESTING + 1 {
            return Err(beyond(MAX_NESTING, "levels of nesting"));
        }
        Ok(())
    }

    fn close(&mut self) {
        if self.frames.len() > 1
            && let Some(frame) = self.frames.pop()
        {
            self.operators -= frame.operators;
        }
    }

    fn comma(&mut self) -> Result<()> {
        let Some(frame) = self.frames.last_mut() else { return Ok(()) };
        self.operators -= frame.operators;
        frame.operators = 0;
        frame.items += 1;
        if frame.items > MAX_LIST_ITEMS {
            return Err(beyond(MAX_LIST_ITEMS, "items in a list"));
        }
        if frame.in_from {
            return self.join();
        }
        Ok(())
    }

    fn word(&mut self, keyword: Keyword, previous: Option<&Lexeme>) -> Result<()> {
        match keyword {
            Keyword::CASE => {
                let readings = self.frames.last().map_or(1, |f| f.readings);
                return self.push(Frame::new(true, readings, 0));
            }
            Keyword::END if self.frames.last().is_some_and(|f| f.case) => self.close(),
            Keyword::FROM => self.set_from(true),
            Keyword::SELECT
            | Keyword::WHERE
            | Keyword::GROUP
            | Keyword::HAVING
            | Keyword::ORDER
            | Keyword::WINDOW
            | Keyword::LIMIT => {
                self.set_from(false);
                if keyword == Keyword::SELECT
                    && let Some(frame) = self.frames.last_mut()
                {
                    frame.items = 1;
                }
            }
            Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT | Keyword::MINUS => {
                self.set_from(false);
                self.set_operations += 1;
                if self.set_operations > MAX_SET_OPERATIONS {
                    return Err(beyond(MAX_SET_OPERATIONS, "UNIONs, INTERSECTs and EXCEPTs"));
                }
            }
            Keyword::JOIN | Keyword::STRAIGHT_JOIN | Keyword::APPLY => return self.join(),
            Keyword::AND
            | Keyword::OR
            | Keyword::XOR
            | Keyword::NOT
            | Keyword::IS
            | Keyword::NOTNULL
            | Keyword::IN
            | Keyword::LIKE
            | Keyword::ILIKE
            | Keyword::RLIKE
            | Keyword::REGEXP
            | Keyword::SIMILAR
            | Keyword::BETWEEN
            | Keyword::OVERLAPS
            | Keyword::COLLATE
            | Keyword::AT
            | Keyword::DIV
            | Keyword::INTERVAL
            | Keyword::OPERATOR
            | Keyword::PRIOR
            | Keyword::CONNECT_BY_ROOT => return self.operator(),
            Keyword::ARRAY if previous.is_some_and(|p| p.is("array")) => return self.operator(),
            _ => {}
        }
        Ok(())
    }

    fn set_from(&mut self, in_from: bool) {
        if let Some(frame) = self.frames.last_mut() {
            frame.in_from = in_from;
        }
    }

    fn join(&mut self) -> Result<()> {
        self.joins += 1;
        if self.joins > MAX_JOINS {
            return Err(beyond(MAX_JOINS, "joins"));
        }
        Ok(())
    }

    fn operator(&mut self) -> Result<()> {
        if let Some(frame) = self.frames.last_mut() {
            frame.operators += 1;
            self.operators += 1;
        }
        if self.operators > MAX_OPERATORS {
            return Err(beyond(MAX_OPERATORS, "operators in one expression"));
        }
        Ok(())
    }
}

/// Whether a parenthesis after this may begin a table or a join.
fn starts_table(previous: &Lexeme) -> bool {
    previous.token.token == Token::Comma
        || matches!(previous.keyword(), Keyword::FROM | Keyword::JOIN | Keyword::LATERAL)
}

/// Whether a sign can nest a tree deeper. What is not listed as flat counts.
fn is_operator(token: &Token) -> bool {
    !matches!(
        token,
        Token::EOF
            | Token::Word(_)
            | Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::DollarQuotedString(_)
            | Token::SingleQuotedByteStringLiteral(_)
            | Token::NationalStringLiteral(_)
            | Token::EscapedStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::HexStringLiteral(_)
            | Token::Placeholder(_)
            | Token::Comma
            | Token::SemiColon
            | Token::Period
            | Token::Whitespace(_)
    )
}
