//! PostgreSQL's regular expressions as the regex crate writes them.
//!
//! What this flavour has and the crate has not (back references, looking around) is refused. Which of several matches is meant is not said
//! here: see [`super::patterned`].

use std::iter::Peekable;
use std::str::Chars;

use crate::error::{Error, Result, Sqlstate};

/// The longest expression, and how deep its parentheses may be.
const MOST_BYTES: usize = 10_000;
const MOST_DEEP: usize = 50;
const MOST_TIMES: u32 = 255;

/// Which of the matches that begin at one place is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Longest,
    Shortest,
}

/// An expression that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Read {
    /// As the regex crate writes it.
    pub regex: String,
    /// The same with the alternatives of each choice the other way round, if there is a choice.
    pub reversed: Option<String>,
    /// `None` if all matches from one place are of one length.
    pub wanted: Option<Wanted>,
}

/// The options of an expression.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub is_global: bool,
    ignores_case: bool,
    /// `.` and `[^…]` do not match the end of a line.
    dot_stops: bool,
    /// `^` and `$` match at the ends of lines.
    has_lines: bool,
    is_literal: bool,
}

impl Options {
    /// The options that letters say.
    ///
    /// # Errors
    /// 22023 for a letter that is none, 0A000 for expanded syntax and other flavours.
    pub(super) fn new(letters: &str) -> Result<Options> {
        let mut options = Options::default();
        letters.chars().try_for_each(|letter| options.set(letter))?;
        Ok(options)
    }

    fn set(&mut self, letter: char) -> Result<()> {
        match letter {
            'g' => self.is_global = true,
            'i' => self.ignores_case = true,
            'c' => self.ignores_case = false,
            'n' | 'm' => (self.dot_stops, self.has_lines) = (true, true),
            'p' => (self.dot_stops, self.has_lines) = (true, false),
            'w' => (self.dot_stops, self.has_lines) = (false, true),
            's' => (self.dot_stops, self.has_lines) = (false, false),
            'q' => self.is_literal = true,
            't' => {}
            'x' | 'b' | 'e' => {
                let message = format!("option \"{letter}\" of regular expressions is not supported");
                return Err(Error::unsupported(message));
            }
            _ => {
                let message = format!("invalid regular expression option: \"{letter}\"");
                return Err(Error::new(Sqlstate::InvalidParameterValue, message));
            }
        }
        Ok(())
    }

    fn prefix(self) -> String {
        let letter = |is: bool, letter| if is { letter } else { "" };
        format!("(?{}{}{})", letter(self.ignores_case, "i"), letter(self.has_lines, "m"), letter(!self.dot_stops, "s"))
            .replace("(?)", "")
    }
}

/// Reads an expression.
///
/// # Errors
/// 2201B for one that is none, 0A000 for what is not supported.
pub(super) fn read(pattern: &str, options: Options) -> Result<Read> {
    if pattern.len() > MOST_BYTES {
        return Err(invalid("regular expression is too complex"));
    }
    let mut options = options;
    let mut rest = pattern;
    if let Some(literal) = rest.strip_prefix("***=") {
        (options.is_literal, rest) = (true, literal);
    } else if let Some(after) = rest.strip_prefix("***:") {
        rest = after;
    } else if rest.starts_with("***") {
        return Err(invalid("quantifier operand invalid"));
    }
    if options.is_literal {
        let regex = options.prefix() + &rest.chars().map(literal).collect::<String>();
        return Ok(Read { regex, reversed: None, wanted: None });
    }
    if let Some((letters, after)) = rest.strip_prefix("(?").and_then(|inner| inner.split_once(')'))
        && !letters.is_empty()
        && letters.chars().all(|c| c.is_ascii_lowercase())
    {
        let is_global = options.is_global;
        letters.chars().try_for_each(|letter| options.set(letter))?;
        options.is_global = is_global;
        rest = after;
    }
    let read = |is_reversed| {
        let mut reader = Reader { chars: rest.chars().peekable(), options, depth: 0, is_reversed, has_choice: false };
        let (body, wanted) = reader.alternatives()?;
        if reader.chars.next().is_some() {
            return Err(invalid("parentheses () not balanced"));
        }
        Ok((options.prefix() + &body, wanted, reader.has_choice))
    };
    let (regex, wanted, has_choice) = read(false)?;
    let reversed = if has_choice { Some(read(true)?.0) } else { None };
    Ok(Read { regex, reversed, wanted })
}

fn invalid(what: &str) -> Error {
    Error::new(Sqlstate::InvalidRegularExpression, format!("invalid regular expression: {what}"))
}

/// A character that stands for itself.
fn literal(c: char) -> String {
    if c.is_alphanumeric() { c.to_string() } else { format!("\\x{{{:x}}}", u32::from(c)) }
}

struct Reader<'a> {
    chars: Peekable<Chars<'a>>,
    options: Options,
    depth: usize,
    is_reversed: bool,
    has_choice: bool,
}

/// What is read: its text, which match of it is meant.
type Part = (String, Option<Wanted>);

impl Reader<'_> {
    fn alternatives(&mut self) -> Result<Part> {
        let mut all = vec![self.branch()?];
        while self.chars.next_if_eq(&'|').is_some() {
            all.push(self.branch()?);
        }
        if all.len() == 1 {
            return Ok(all.pop().unwrap_or_default());
        }
        self.has_choice = true;
        if self.is_reversed {
            all.reverse();
        }
        let texts: Vec<String> = all.into_iter().map(|(text, _)| text).collect();
        Ok((texts.join("|"), Some(Wanted::Longest)))
    }

    fn branch(&mut self) -> Result<Part> {
        let (mut text, mut wanted) = (String::new(), None);
        while let Some(c) = self.chars.next_if(|c| *c != '|' && *c != ')') {
            let (atom, of_atom, may_repeat) = self.atom(c)?;
            text.push_str(&atom);
            let of_atom = match self.quantifier(may_repeat)? {
                Some((quantifier, of_quantifier)) => {
                    text.push_str(&quantifier);
                    of_quantifier.or(of_atom)
                }
                None => of_atom,
            };
            wanted = wanted.or(of_atom);
        }
        Ok((text, wanted))
    }

    fn atom(&mut self, first: char) -> Result<(String, Option<Wanted>, bool)> {
        Ok(match first {
            '(' => {
                let (text, wanted) = self.group()?;
                (text, wanted, true)
            }
            '[' => {
                let (text, is_constraint) = self.bracket()?;
                (text, None, !is_constraint)
            }
            '*' | '+' | '?' => return Err(invalid("quantifier operand invalid")),
            '{' if self.chars.peek().is_some_and(char::is_ascii_digit) => {
                return Err(invalid("quantifier operand invalid"));
            }
            '.' => (".".to_owned(), None, true),
            '^' | '$' => (first.to_string(), None, false),
            '\\' => {
                let (text, is_constraint) = self.escape()?;
                (text, None, !is_constraint)
            }
            other => (literal(other), None, true),
        })
    }

    fn group(&mut self) -> Result<Part> {
        self.depth += 1;
        if self.depth > MOST_DEEP {
            return Err(invalid("regular expression is too complex"));
        }
        let mut open = "(";
        if self.chars.next_if_eq(&'?').is_some() {
            match self.chars.next() {
                Some(':') => open = "(?:",
                Some('=' | '!' | '<') => {
                    return Err(Error::unsupported("looking ahead and behind in regular expressions is not supported"));
                }
                _ => return Err(invalid("quantifier operand invalid")),
            }
        }
        let (text, wanted) = self.alternatives()?;
        if self.chars.next() != Some(')') {
            return Err(invalid("parentheses () not balanced"));
        }
        self.depth -= 1;
        Ok((format!("{open}{text})"), wanted))
    }

    /// What says how often, and which match it prefers: neither for an exact number of times.
    fn quantifier(&mut self, may_repeat: bool) -> Result<Option<(String, Option<Wanted>)>> {
        let mut is_fixed = false;
        let text = match self.chars.peek() {
            Some(c @ ('*' | '+' | '?')) => {
                let text = c.to_string();
                self.chars.next();
                text
            }
            Some('{') => {
                let mut ahead = self.chars.clone();
                ahead.next();
                if !ahead.peek().is_some_and(char::is_ascii_digit) {
                    return Ok(None);
                }
                self.chars.next();
                let least = self.times()?;
                let most = match self.chars.next_if_eq(&',') {
                    Some(_) if self.chars.peek() == Some(&'}') => None,
                    Some(_) => Some(self.times()?),
                    None => {
                        is_fixed = true;
                        Some(least)
                    }
                };
                if self.chars.next() != Some('}') || most.is_some_and(|most| most < least) {
                    return Err(invalid("invalid repetition count(s)"));
                }
                most.map_or_else(|| format!("{{{least},}}"), |most| format!("{{{least},{most}}}"))
            }
            _ => return Ok(None),
        };
        if !may_repeat {
            return Err(invalid("quantifier operand invalid"));
        }
        let is_lazy = self.chars.next_if_eq(&'?').is_some();
        let another = match self.chars.peek() {
            Some('*' | '+' | '?') => true,
            Some('{') => {
                let mut ahead = self.chars.clone();
                ahead.next();
                ahead.peek().is_some_and(char::is_ascii_digit)
            }
            _ => false,
        };
        if another {
            return Err(invalid("quantifier operand invalid"));
        }
        let wanted = if is_lazy { Wanted::Shortest } else { Wanted::Longest };
        Ok(Some((if is_lazy { text + "?" } else { text }, (!is_fixed).then_some(wanted))))
    }

    fn times(&mut self) -> Result<u32> {
        let mut number: u32 = 0;
        let mut has_any = false;
        while let Some(digit) = self.chars.peek().and_then(|c| c.to_digit(10)) {
            self.chars.next();
            (number, has_any) = (number.saturating_mul(10).saturating_add(digit), true);
        }
        if !has_any || number > MOST_TIMES {
            return Err(invalid("invalid repetition count(s)"));
        }
        Ok(number)
    }

    /// What a backslash begins, and whether it is a place and not a character.
    fn escape(&mut self) -> Result<(String, bool)> {
        let Some(c) = self.chars.next() else { return Err(invalid("invalid escape \\ sequence")) };
        Ok(match c {
            'A' => ("\\A".to_owned(), true),
            'Z' => ("\\z".to_owned(), true),
            'm' => ("\\b{start}".to_owned(), true),
            'M' => ("\\b{end}".to_owned(), true),
            'y' => ("\\b".to_owned(), true),
            'Y' => ("\\B".to_owned(), true),
            'd' => ("[0-9]".to_owned(), false),
            'D' => ("[^0-9]".to_owned(), false),
            's' => ("\\s".to_owned(), false),
            'S' => ("\\S".to_owned(), false),
            'w' => (format!("[{WORD}]"), false),
            'W' => (format!("[^{WORD}]"), false),
            '1'..='9' => return Err(Error::unsupported("back references in regular expressions are not supported")),
            other => (literal(self.escaped(other)?), false),
        })
    }

    /// The character that an escape stands for.
    fn escaped(&mut self, c: char) -> Result<char> {
        let bad = || invalid("invalid escape \\ sequence");
        Ok(match c {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'B' => '\\',
            'e' => '\u{1b}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            'c' => {
                let control = self.chars.next().filter(char::is_ascii).ok_or_else(bad)?;
                char::from_u32(u32::from(control) & 31).ok_or_else(bad)?
            }
            'u' => self.of_hex(4, 4)?,
            'U' => self.of_hex(8, 8)?,
            'x' => self.of_hex(1, 8)?,
            '0' => '\0',
            other if other.is_alphanumeric() => return Err(bad()),
            other => other,
        })
    }

    fn of_hex(&mut self, least: u32, most: u32) -> Result<char> {
        let bad = || invalid("invalid escape \\ sequence");
        let (mut value, mut count) = (0_u32, 0);
        while let Some(digit) = self.chars.peek().and_then(|c| c.to_digit(16)).filter(|_| count < most) {
            self.chars.next();
            value = value.checked_mul(16).and_then(|value| value.checked_add(digit)).ok_or_else(bad)?;
            count += 1;
        }
        char::from_u32(value).filter(|_| count >= least).ok_or_else(bad)
    }

    /// A bracket expression, and whether it is a place: `[[:<:]]`.
    fn bracket(&mut self) -> Result<(String, bool)> {
        for (place, text) in [("[:<:]]", "\\b{start}"), ("[:>:]]", "\\b{end}")] {
            let ahead: String = self.chars.clone().take(place.len()).collect();
            if ahead == place {
                self.chars.by_ref().take(place.len()).for_each(drop);
                return Ok((text.to_owned(), true));
            }
        }
        let open = || invalid("brackets [] not balanced");
        let mut text = "[".to_owned();
        if self.chars.next_if_eq(&'^').is_some() {
            text.push('^');
            if self.options.dot_stops {
                text.push_str("\\n");
            }
        }
        let mut is_first = true;
        loop {
            let c = self.chars.next().ok_or_else(open)?;
            if c == ']' && !is_first {
                text.push(']');
                return Ok((text, false));
            }
            is_first = false;
            let start = match self.item(c)? {
                Ok(start) => start,
                Err(class) => {
                    text.push_str(&class);
                    continue;
                }
            };
            let mut ahead = self.chars.clone();
            if ahead.next() == Some('-') && ahead.peek().is_some_and(|next| *next != ']') {
                self.chars.next();
                let c = self.chars.next().ok_or_else(open)?;
                let range = self.item(c)?.ok().filter(|end| *end >= start);
                let end = range.ok_or_else(|| invalid("invalid character range"))?;
                text.push_str(&format!("{}-{}", literal(start), literal(end)));
            } else {
                text.push_str(&literal(start));
            }
        }
    }

    /// A character of a bracket expression, or a class of them.
    fn item(&mut self, c: char) -> Result<Result<char, String>> {
        if c == '\\' {
            let Some(next) = self.chars.next() else { return Err(invalid("invalid escape \\ sequence")) };
            return Ok(match next {
                'd' => Err("0-9".to_owned()),
                's' => Err("\\s".to_owned()),
                'w' => Err(WORD.to_owned()),
                'D' => Err("[^0-9]".to_owned()),
                'S' => Err("\\S".to_owned()),
                'W' => Err(format!("[^{WORD}]")),
                '1'..='9' => return Err(invalid("invalid escape \\ sequence")),
                other => Ok(self.escaped(other)?),
            });
        }
        let Some(kind) = (c == '[').then(|| self.chars.next_if(|c| matches!(c, ':' | '.' | '='))).flatten() else {
            return Ok(Ok(c));
        };
        let mut name = String::new();
        loop {
            let next = self.chars.next().ok_or_else(|| invalid("brackets [] not balanced"))?;
            if next == kind && self.chars.next_if_eq(&']').is_some() {
                break;
            }
            name.push(next);
        }
        if kind != ':' {
            let mut chars = name.chars();
            return match (chars.next(), chars.next()) {
                (Some(one), None) => Ok(Ok(one)),
                _ => Err(Error::unsupported("collating elements in regular expressions are not supported")),
            };
        }
        Ok(Err(match name.as_str() {
            "alnum" => "\\p{Alphabetic}\\p{Nd}",
            "alpha" => "\\p{Alphabetic}",
            "blank" => "\\x20\\t",
            "cntrl" => "\\p{Cc}",
            "digit" => "0-9",
            "graph" => "[\\P{C}&&\\S]",
            "lower" => "\\p{Lowercase}",
            "print" => "\\P{C}",
            "punct" => "\\p{P}\\p{S}",
            "space" => "\\s",
            "upper" => "\\p{Uppercase}",
            "word" => WORD,
            "xdigit" => "0-9A-Fa-f",
            _ => return Err(invalid("invalid character class")),
        }
        .to_owned()))
    }
}

/// What words are made of.
const WORD: &str = "\\p{Alphabetic}\\p{Nd}_";

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_read() {
        let regex = |pattern: &str| read(pattern, Options::default()).map(|read| read.regex);
        assert_eq!(regex("a.b|c").unwrap(), "(?s)a.b|c");
        assert_eq!(regex(r"\mfoo\M").unwrap(), r"(?s)\b{start}foo\b{end}");
        assert_eq!(regex("[]a-c&&-]").unwrap(), r"(?s)[\x{5d}a-c\x{26}\x{26}\x{2d}]");
        assert_eq!(regex("a{,2}").unwrap(), r"(?s)a\x{7b}\x{2c}2\x{7d}");
        assert_eq!(read("(?i)a", Options::default()).unwrap().regex, "(?is)a");
        // Each with what PostgreSQL 15 says.
        for (pattern, error) in [
            ("(a", "parentheses () not balanced"),
            ("a)", "parentheses () not balanced"),
            ("[a", "brackets [] not balanced"),
            ("*a", "quantifier operand invalid"),
            ("a**", "quantifier operand invalid"),
            ("^*", "quantifier operand invalid"),
            ("a{2,1}", "invalid repetition count(s)"),
            ("a{256}", "invalid repetition count(s)"),
            ("[b-a]", "invalid character range"),
            ("[[:foo:]]", "invalid character class"),
            ("\\", "invalid escape \\ sequence"),
            ("\\q", "invalid escape \\ sequence"),
        ] {
            assert_eq!(regex(pattern).unwrap_err(), invalid(error), "{pattern}");
        }
        for pattern in ["(a)\\1", "a(?=b)", "(?<!a)b"] {
            assert_eq!(regex(pattern).unwrap_err().state, Sqlstate::FeatureNotSupported, "{pattern}");
        }
    }

    #[test]
    fn which_match_is_meant() {
        let wanted = |pattern: &str| read(pattern, Options::default()).unwrap().wanted;
        assert_eq!(wanted("abc{2}"), None);
        assert_eq!(wanted("a*?b*"), Some(Wanted::Shortest));
        assert_eq!(wanted("a*b*?"), Some(Wanted::Longest));
        assert_eq!(wanted("a*?|b"), Some(Wanted::Longest));
        assert_eq!(wanted("(a+?)b*"), Some(Wanted::Shortest));
    }
}
