//! PostgreSQL's dialect for the parser, with a bound on its work.
//!
//! Two habits of the parser cost time exponential in the nesting of a text: it reads a function's argument once to see whether
//! it is a name and once more if not, and after an error it reads words such as CAST again as identifiers. The first is off
//! here (names of arguments are plain identifiers); the second is stopped by a number of steps.

use std::any::TypeId;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

const POSTGRES: PostgreSqlDialect = PostgreSqlDialect {};

/// The dialect of one parse.
#[derive(Debug)]
pub(super) struct BoundedDialect {
    steps_left: AtomicU64,
}

impl BoundedDialect {
    /// A dialect whose parse may read so many expressions.
    pub(super) fn new(steps: u64) -> Self {
        BoundedDialect { steps_left: AtomicU64::new(steps) }
    }

    /// Whether the parse was stopped.
    pub(super) fn exhausted(&self) -> bool {
        self.steps_left.load(Ordering::Relaxed) == 0
    }
}

impl Dialect for BoundedDialect {
    fn dialect(&self) -> TypeId {
        TypeId::of::<PostgreSqlDialect>()
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        let left = self.steps_left.load(Ordering::Relaxed).saturating_sub(1);
        self.steps_left.store(left, Ordering::Relaxed);
        if left == 0 {
            return Some(Err(ParserError::RecursionLimitExceeded));
        }
        calls_substring(parser).then(|| {
            let name = parser.parse_object_name(false)?;
            parser.parse_function(name)
        })
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        POSTGRES.identifier_quote_style(identifier)
    }
    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        POSTGRES.is_delimited_identifier_start(ch)
    }
    fn is_identifier_start(&self, ch: char) -> bool {
        POSTGRES.is_identifier_start(ch)
    }
    fn is_identifier_part(&self, ch: char) -> bool {
        POSTGRES.is_identifier_part(ch)
    }
    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        POSTGRES.is_reserved_for_identifier(keyword)
    }
    fn is_custom_operator_part(&self, ch: char) -> bool {
        POSTGRES.is_custom_operator_part(ch)
    }
    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        POSTGRES.get_next_precedence(parser)
    }
    fn prec_value(&self, precedence: Precedence) -> u8 {
        POSTGRES.prec_value(precedence)
    }
    fn supports_unicode_string_literal(&self) -> bool {
        true
    }
    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }
    /// With them go `?`, `?|` and `?&` of jsonb.
    fn supports_geometric_types(&self) -> bool {
        POSTGRES.supports_geometric_types()
    }
    fn supports_group_by_expr(&self) -> bool {
        true
    }
    fn allow_extract_custom(&self) -> bool {
        true
    }
    fn allow_extract_single_quotes(&self) -> bool {
        true
    }
    fn supports_factorial_operator(&self) -> bool {
        true
    }
    fn supports_bitwise_shift_operators(&self) -> bool {
        true
    }
    fn supports_empty_projections(&self) -> bool {
        true
    }
    fn supports_nested_comments(&self) -> bool {
        true
    }
    fn supports_string_escape_constant(&self) -> bool {
        true
    }
    fn supports_numeric_literal_underscores(&self) -> bool {
        true
    }
    fn supports_array_typedef_with_brackets(&self) -> bool {
        true
    }
    fn supports_notnull_operator(&self) -> bool {
        true
    }
    fn supports_interval_options(&self) -> bool {
        true
    }
    fn supports_comma_separated_trim(&self) -> bool {
        true
    }
}

/// Whether `pg_catalog.substring(` comes next: a function like others, though `substring(` is not for the parser.
fn calls_substring(parser: &Parser) -> bool {
    let is_word =
        |token: &Token, text: &str| matches!(token, Token::Word(word) if word.value.eq_ignore_ascii_case(text));
    let token = |n: usize| parser.peek_nth_token_ref(n);
    is_word(&token(0).token, "pg_catalog")
        && token(1).token == Token::Period
        && is_word(&token(2).token, "substring")
        && token(3).token == Token::LParen
}
