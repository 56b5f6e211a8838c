//! Reading tokens one by one, with PostgreSQL's syntax errors.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{DataType, Expr, Ident, ObjectName, Query};
use datafusion::sql::sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan, Word};

use super::bounds;
use super::dialect::BoundedDialect;
use super::lexer::Lexeme;
use super::reserved::misplaced;
use crate::error::{Error, Result, Sqlstate};

/// A place in a statement's tokens.
pub(super) struct Reader<'a> {
    text: &'a str,
    tokens: &'a [Lexeme],
    next: usize,
    /// Literals may be passwords: errors do not repeat them.
    secret: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str, tokens: &'a [Lexeme]) -> Self {
        Reader { text, tokens, next: 0, secret: false }
    }

    /// From here on errors repeat no literals.
    pub(super) fn keep_secrets(&mut self) {
        self.secret = true;
    }

    pub(super) fn peek(&self) -> Option<&'a Lexeme> {
        self.tokens.get(self.next)
    }

    pub(super) fn peek_after(&self, skip: usize) -> Option<&'a Lexeme> {
        self.tokens.get(self.next + skip)
    }

    pub(super) fn at_end(&self) -> bool {
        self.peek().is_none()
    }

    pub(super) fn advance(&mut self) -> Option<&'a Lexeme> {
        let lexeme = self.tokens.get(self.next)?;
        self.next += 1;
        Some(lexeme)
    }

    /// The text from the next token to the last.
    pub(super) fn rest(&self) -> &'a str {
        match (self.peek(), self.tokens.last()) {
            (Some(first), Some(last)) => self.text.get(first.bytes.start..last.bytes.end).unwrap_or_default(),
            _ => "",
        }
    }

    /// A reader of the rest on its own.
    pub(super) fn fork(&self) -> Reader<'a> {
        Reader {
            text: self.text,
            tokens: self.tokens.get(self.next..).unwrap_or_default(),
            next: 0,
            secret: self.secret,
        }
    }

    /// PostgreSQL's error at the next token.
    pub(super) fn syntax_error(&self) -> Error {
        self.syntax_error_at(self.peek())
    }

    fn syntax_error_at(&self, lexeme: Option<&Lexeme>) -> Error {
        let Some(lexeme) = lexeme else {
            return Error::new(Sqlstate::SyntaxError, "syntax error at end of input").at(self.text.chars().count() + 1);
        };
        let is_word_or_sign = matches!(lexeme.token.token, Token::Word(_)) || lexeme.bytes.len() <= 3;
        let near = if self.secret && (!is_word_or_sign || is_string(&lexeme.token.token)) {
            "'…'".to_owned()
        } else {
            self.text.get(lexeme.bytes.clone()).unwrap_or_default().chars().take(64).collect()
        };
        Error::new(Sqlstate::SyntaxError, format!("syntax error at or near \"{near}\"")).at(lexeme.at)
    }

    /// Whether the next word is this one.
    pub(super) fn sees(&self, word: &str) -> bool {
        self.peek().is_some_and(|l| l.is(word))
    }

    /// Whether the next words are these.
    pub(super) fn sees_all(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(i, word)| self.peek_after(i).is_some_and(|l| l.is(word)))
    }

    /// Takes these words if they come next.
    pub(super) fn take(&mut self, words: &[&str]) -> bool {
        let seen = self.sees_all(words);
        if seen {
            self.next += words.len();
        }
        seen
    }

    /// Takes the first of these words that comes next.
    pub(super) fn take_any<'w>(&mut self, words: &[&'w str]) -> Option<&'w str> {
        let word = words.iter().find(|word| self.sees(word))?;
        self.next += 1;
        Some(word)
    }

    /// Takes these words or fails.
    pub(super) fn expect(&mut self, words: &[&str]) -> Result<()> {
        words.iter().try_for_each(|word| if self.take(&[word]) { Ok(()) } else { Err(self.syntax_error()) })
    }

    pub(super) fn sees_sign(&self, sign: &Token) -> bool {
        self.peek().is_some_and(|l| l.token.token == *sign)
    }

    pub(super) fn take_sign(&mut self, sign: &Token) -> bool {
        let seen = self.sees_sign(sign);
        if seen {
            self.next += 1;
        }
        seen
    }

    pub(super) fn expect_sign(&mut self, sign: &Token) -> Result<()> {
        if self.take_sign(sign) { Ok(()) } else { Err(self.syntax_error()) }
    }

    /// Fails unless everything was read.
    pub(super) fn end(&self) -> Result<()> {
        if self.at_end() { Ok(()) } else { Err(self.syntax_error()) }
    }

    /// `result` if everything was read.
    pub(super) fn finish<T>(&self, result: T) -> Result<T> {
        self.end().map(|()| result)
    }

    /// A name: unquoted ones in lower case.
    pub(super) fn name(&mut self) -> Result<String> {
        let Some(Token::Word(word)) = self.peek().map(|l| &l.token.token) else { return Err(self.syntax_error()) };
        let name = name_of(word);
        self.next += 1;
        Ok(name)
    }

    /// A name with its dots, normalized.
    pub(super) fn dotted_name(&mut self) -> Result<Vec<String>> {
        let mut parts = vec![self.name()?];
        while self.take_sign(&Token::Period) {
            parts.push(self.name()?);
        }
        Ok(parts)
    }

    /// A name as the parser's tree has it.
    pub(super) fn ident(&mut self) -> Result<Ident> {
        let Some(lexeme) = self.peek() else { return Err(self.syntax_error()) };
        let Token::Word(word) = &lexeme.token.token else { return Err(self.syntax_error()) };
        let ident = Ident { value: word.value.clone(), quote_style: word.quote_style, span: lexeme.token.span };
        self.next += 1;
        Ok(ident)
    }

    /// A table's name as the parser's tree has it.
    pub(super) fn object_name(&mut self) -> Result<ObjectName> {
        let mut parts = vec![self.ident()?];
        while self.take_sign(&Token::Period) {
            parts.push(self.ident()?);
        }
        Ok(ObjectName::from(parts))
    }

    /// A string literal's value.
    pub(super) fn string(&mut self) -> Result<String> {
        match self.peek().and_then(|l| string_of(&l.token.token)) {
            Some(value) => {
                self.next += 1;
                Ok(value)
            }
            None => Err(self.syntax_error()),
        }
    }

    /// A whole number, with a sign perhaps.
    pub(super) fn integer(&mut self) -> Result<i64> {
        let negative = self.take_sign(&Token::Minus);
        if !negative {
            self.take_sign(&Token::Plus);
        }
        let Some(Token::Number(digits, _)) = self.peek().map(|l| &l.token.token) else {
            return Err(self.syntax_error());
        };
        let text = if negative { format!("-{digits}") } else { digits.clone() };
        let value = text.parse().map_err(|_| self.syntax_error())?;
        self.next += 1;
        Ok(value)
    }

    /// A setting's value: a string, a word in lower case, a number.
    pub(super) fn value(&mut self) -> Result<String> {
        match self.peek().map(|l| &l.token.token) {
            Some(Token::Word(word)) => {
                let value = name_of(word);
                self.next += 1;
                Ok(value)
            }
            Some(Token::Number(digits, _)) => {
                let value = digits.clone();
                self.next += 1;
                Ok(value)
            }
            Some(sign @ (Token::Minus | Token::Plus)) => match self.peek_after(1).map(|l| &l.token.token) {
                Some(Token::Number(digits, _)) => {
                    let value = if *sign == Token::Minus { format!("-{digits}") } else { digits.clone() };
                    self.next += 2;
                    Ok(value)
                }
                _ => Err(self.syntax_error()),
            },
            _ => self.string(),
        }
    }

    /// Lets go of a semicolon at the end; another statement after one is an error.
    pub(super) fn drop_semicolon(&mut self) -> Result<()> {
        while let Some((last, before)) = self.tokens.split_last() {
            if last.token.token != Token::SemiColon {
                break;
            }
            self.tokens = before;
        }
        if self.tokens.iter().any(|l| l.token.token == Token::SemiColon) {
            return Err(Error::new(Sqlstate::SyntaxError, "cannot insert multiple commands into a prepared statement"));
        }
        Ok(())
    }

    /// Lets go of these words at the end, if they stand there.
    pub(super) fn drop_last(&mut self, words: &[&str]) -> bool {
        let rest = self.tokens.get(self.next..).unwrap_or_default();
        let Some(at) = rest.len().checked_sub(words.len()) else { return false };
        let stand = rest.iter().skip(at).zip(words).all(|(lexeme, word)| lexeme.is(word));
        if stand {
            self.tokens = self.tokens.get(..self.next + at).unwrap_or_default();
        }
        stand
    }

    /// Whether these words stand in the rest, outside of parentheses.
    pub(super) fn has_outside_parentheses(&self, words: &[&str]) -> bool {
        let rest = self.tokens.get(self.next..).unwrap_or_default();
        let mut depth = 0_usize;
        for (at, lexeme) in rest.iter().enumerate() {
            match lexeme.token.token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.saturating_sub(1),
                _ if depth == 0 => {
                    let here = rest.get(at..).unwrap_or_default();
                    if here.len() >= words.len() && here.iter().zip(words).all(|(lexeme, word)| lexeme.is(word)) {
                        return true;
                    }
                }
                _ => {}
            }
        }
        false
    }

    /// The library reads `ONLY t` as a table `only` with a name.
    pub(super) fn refuse_only(&self) -> Result<()> {
        let rest = self.tokens.get(self.next..).unwrap_or_default();
        for three in rest.windows(3) {
            if let [from, only, table] = three {
                let named = matches!(table.token.token, Token::Word(_)) && !table.is("as") && !table.is("where");
                if (from.is("from") || from.is("join"))
                    && only.is("only")
                    && (named || table.token.token == Token::LParen)
                {
                    return Err(Error::unsupported("ONLY is not supported").at(only.at));
                }
            }
        }
        Ok(())
    }

    /// Items between commas.
    pub(super) fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut items = vec![item(self)?];
        while self.take_sign(&Token::Comma) {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// Items between commas in parentheses.
    pub(super) fn parenthesized<T>(&mut self, item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        self.expect_sign(&Token::LParen)?;
        let items = self.list(item)?;
        self.expect_sign(&Token::RParen)?;
        Ok(items)
    }

    /// The query that is all of the rest.
    pub(super) fn query(&mut self) -> Result<Box<Query>> {
        let query = self.parse(|parser| parser.parse_query())?;
        self.end()?;
        self.refuse_reserved(&query)?;
        Ok(query)
    }

    /// The query in parentheses that comes next.
    pub(super) fn query_in_parentheses(&mut self) -> Result<Box<Query>> {
        self.expect_sign(&Token::LParen)?;
        let query = self.parse(|parser| parser.parse_query())?;
        self.expect_sign(&Token::RParen)?;
        self.refuse_reserved(&query)?;
        Ok(query)
    }

    fn refuse_reserved(&self, query: &Query) -> Result<()> {
        let Some(at) = misplaced(query) else { return Ok(()) };
        Err(self.syntax_error_at(self.tokens.iter().find(|lexeme| lexeme.token.span.start == at)))
    }

    /// An expression.
    pub(super) fn expression(&mut self) -> Result<Expr> {
        self.parse(|parser| parser.parse_expr())
    }

    /// An expression that ends before NOT NULL: PostgreSQL's `b_expr`.
    pub(super) fn simple_expression(&mut self) -> Result<Expr> {
        let is = PostgreSqlDialect {}.prec_value(Precedence::Is);
        self.parse(|parser| parser.parse_subexpr(is))
    }

    /// A type.
    pub(super) fn data_type(&mut self) -> Result<DataType> {
        self.parse(|parser| parser.parse_data_type())
    }

    /// Lets the library read from here.
    fn parse<T>(&mut self, read: impl FnOnce(&mut Parser) -> Result<T, ParserError>) -> Result<T> {
        let steps = bounds::STEPS_PER_TOKEN * (u64::try_from(self.tokens.len()).unwrap_or(u64::MAX / 64) + 100);
        let dialect = Arc::new(BoundedDialect::new(steps));
        let (tokens, origins) = self.parser_tokens();
        let mut parser =
            Parser::new(dialect.as_ref()).with_recursion_limit(bounds::PARSER_DEPTH).with_tokens_with_locations(tokens);
        let outcome = read(&mut parser);
        // `index` counts what was taken of the tokens that the library was given.
        let here = origins.get(parser.index()).copied().unwrap_or(self.tokens.len());
        match outcome {
            Ok(value) => {
                self.next = here;
                Ok(value)
            }
            Err(_) if dialect.exhausted() => Err(bounds::beyond(steps, "expressions to read")),
            Err(ParserError::RecursionLimitExceeded) => Err(bounds::beyond(bounds::PARSER_DEPTH, "levels of nesting")),
            Err(ParserError::ParserError(message)) => Err(match location(&message) {
                Some(place) => {
                    let found =
                        self.tokens.iter().find(|l| (l.token.span.start.line, l.token.span.start.column) == place);
                    self.syntax_error_at(found)
                }
                None if message.contains("found: EOF") => self.syntax_error_at(None),
                None => self.syntax_error_at(self.tokens.get(here)),
            }),
            Err(ParserError::TokenizerError(_)) => Err(self.syntax_error()),
        }
    }

    /// The rest for the library, with each token's place in ours. `TABLE t` is written out as `SELECT * FROM t`: the library's tree
    /// would forget whether the name was quoted.
    fn parser_tokens(&self) -> (Vec<TokenWithSpan>, Vec<usize>) {
        let rest = self.tokens.get(self.next..).unwrap_or_default();
        let mut tokens = Vec::with_capacity(rest.len() + 2);
        let mut origins = Vec::with_capacity(rest.len() + 2);
        for (i, lexeme) in rest.iter().enumerate() {
            let starts_query = match i.checked_sub(1).and_then(|p| rest.get(p)) {
                None => true,
                Some(p) => {
                    p.token.token == Token::LParen
                        || p.is("union")
                        || p.is("intersect")
                        || p.is("except")
                        || ((p.is("all") || p.is("distinct"))
                            && i.checked_sub(2)
                                .and_then(|q| rest.get(q))
                                .is_some_and(|q| q.is("union") || q.is("intersect") || q.is("except")))
                }
            };
            let names_table = matches!(rest.get(i + 1).map(|l| &l.token.token), Some(Token::Word(_)));
            if starts_query && lexeme.is("table") && names_table {
                for token in [Token::make_keyword("SELECT"), Token::Mul, Token::make_keyword("FROM")] {
                    tokens.push(TokenWithSpan { token, span: lexeme.token.span });
                    origins.push(self.next + i);
                }
            } else {
                tokens.push(lexeme.token.clone());
                origins.push(self.next + i);
            }
        }
        (tokens, origins)
    }
}

/// The line and column that the library puts at the end of its messages.
fn location(message: &str) -> Option<(u64, u64)> {
    let (_, place) = message.rsplit_once(" at Line: ")?;
    let (line, column) = place.split_once(", Column: ")?;
    Some((line.parse().ok()?, column.parse().ok()?))
}

fn is_string(token: &Token) -> bool {
    string_of(token).is_some()
}

fn string_of(token: &Token) -> Option<String> {
    match token {
        Token::SingleQuotedString(value) | Token::EscapedStringLiteral(value) | Token::UnicodeStringLiteral(value) => {
            Some(value.clone())
        }
        Token::DollarQuotedString(value) => Some(value.value.clone()),
        _ => None,
    }
}

/// A name as PostgreSQL knows it.
pub(super) fn name_of(word: &Word) -> String {
    if word.quote_style.is_some() { word.value.clone() } else { word.value.to_lowercase() }
}

/// A name without a place, quoted so that it stays as it is.
pub(super) fn quoted(name: &str) -> Ident {
    Ident { value: name.to_owned(), quote_style: Some('"'), span: Span::empty() }
}
