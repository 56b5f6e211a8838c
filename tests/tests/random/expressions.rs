//! Expressions of a type, over the columns that there are.
//!
//! Literals, values, aggregates and window functions are templates in `templates.txt`, each a line. A template's holes are letters in braces: `{i}` is an expression of type integer, see [`Kind::by_letter`]; `{x}` is one of the type
//! that is made.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::chance::Chance;

/// A type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Int,
    Float,
    Numeric,
    Text,
    Bool,
    Date,
    Timestamp,
    Interval,
    Json,
    Ints,
    Texts,
    /// Every one.
    Any,
}

impl Kind {
    /// All of them, the frequent ones more than once.
    pub const ALL: [Kind; 14] = [
        Kind::Int,
        Kind::Int,
        Kind::Float,
        Kind::Numeric,
        Kind::Text,
        Kind::Text,
        Kind::Bool,
        Kind::Bool,
        Kind::Date,
        Kind::Timestamp,
        Kind::Interval,
        Kind::Json,
        Kind::Ints,
        Kind::Texts,
    ];

    fn by_letter(letter: char) -> Option<Kind> {
        Some(match letter {
            'i' => Kind::Int,
            'f' => Kind::Float,
            'n' => Kind::Numeric,
            't' => Kind::Text,
            'b' => Kind::Bool,
            'd' => Kind::Date,
            's' => Kind::Timestamp,
            'v' => Kind::Interval,
            'j' => Kind::Json,
            'I' => Kind::Ints,
            'T' => Kind::Texts,
            _ => return None,
        })
    }

    /// Its name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Int => "bigint",
            Kind::Float => "double precision",
            Kind::Numeric => "numeric",
            Kind::Text => "text",
            Kind::Bool => "boolean",
            Kind::Date => "date",
            Kind::Timestamp => "timestamp",
            Kind::Interval => "interval",
            Kind::Json => "jsonb",
            Kind::Ints => "bigint[]",
            Kind::Texts => "text[]",
            Kind::Any => "unknown",
        }
    }

    /// What there is of this type, of those sorts of lines of `templates.txt`.
    pub fn templates(self, what: &str) -> &'static [&'static str] {
        static ALL: LazyLock<HashMap<(&str, &str), Vec<&str>>> = LazyLock::new(|| {
            let mut all: HashMap<(&str, &str), Vec<&str>> = HashMap::new();
            for line in include_str!("templates.txt").lines() {
                let mut parts = line.splitn(3, ' ');
                let (kind, what, template) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
                all.entry((kind, what)).or_default().push(template);
            }
            all
        });
        let name = format!("{self:?}").to_lowercase();
        let found = ALL.iter().find(|((kind, of), _)| *kind == name && *of == what);
        found
            .or_else(|| ALL.iter().find(|((kind, of), _)| *kind == "any" && *of == what))
            .map(|(_, all)| all.as_slice())
            .unwrap()
    }
}

/// A column that expressions may use.
#[derive(Debug, Clone)]
pub struct Column {
    pub name: String,
    pub kind: Kind,
}

/// What makes expressions.
pub struct Maker<'a> {
    pub chance: &'a mut Chance,
    /// The columns that there are.
    pub columns: Vec<Column>,
    /// Values of parameters so far, as text, if literals may become parameters.
    pub parameters: Option<Vec<String>>,
}

impl Maker<'_> {
    /// An expression of a type, of a depth.
    pub fn expression(&mut self, kind: Kind, depth: usize) -> String {
        if depth == 0 || self.chance.percent(15) {
            return self.leaf(kind);
        }
        // Some that every type has.
        let of = if self.chance.percent(12) { Kind::Any } else { kind };
        let template = *self.chance.pick(of.templates("value"));
        self.fill(template, kind, depth - 1)
    }

    /// A template with expressions in its holes.
    pub fn fill(&mut self, template: &str, kind: Kind, depth: usize) -> String {
        let mut out = String::new();
        let mut rest = template;
        while let Some(at) = rest.find('{') {
            out += &rest[..at];
            let mut after = rest[at + 1..].chars();
            let hole = match (after.next(), after.next()) {
                (Some('x'), Some('}')) => Some(kind),
                (Some(letter), Some('}')) => Kind::by_letter(letter),
                _ => None,
            };
            match hole {
                Some(kind) => {
                    out += &self.expression(kind, depth);
                    rest = &rest[at + 3..];
                }
                None => {
                    out.push('{');
                    rest = &rest[at + 1..];
                }
            }
        }
        out + rest
    }

    fn leaf(&mut self, kind: Kind) -> String {
        let columns: Vec<&Column> = self.columns.iter().filter(|column| column.kind == kind).collect();
        if !columns.is_empty() && self.chance.percent(60) {
            return self.chance.pick(&columns).name.clone();
        }
        if self.chance.percent(6) {
            return if self.chance.percent(50) { "NULL".to_owned() } else { format!("NULL::{}", kind.name()) };
        }
        let literal = *self.chance.pick(kind.templates("literal"));
        if let Some(parameters) = &mut self.parameters
            && matches!(kind, Kind::Int | Kind::Text)
            && parameters.len() < 8
            && self.chance.percent(40)
        {
            let plain = ["1", "-7", "0", "x", "", "9223372036854775807", "ü"];
            parameters.push((*self.chance.pick(&plain)).to_owned());
            return format!("${}::{}", parameters.len(), kind.name());
        }
        literal.to_owned()
    }
}
