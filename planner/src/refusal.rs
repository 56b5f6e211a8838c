//! Why a query is refused at plan time.

/// Which rule refuses; the engine maps it to an SQLSTATE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalKind {
    /// The rules of a table forbid it (42501).
    Forbidden,
    /// A shape the boundary cannot take (0A000).
    Unsupported,
}

/// A refusal: decided from query, catalog and policies only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The rule.
    pub kind: RefusalKind,
    /// What happened, to what (PostgreSQL's style: lower case, no full stop).
    pub message: String,
    /// The nearest form that works, a sentence.
    pub hint: Option<String>,
}

impl Refusal {
    /// The rules of a table forbid it.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Refusal { kind: RefusalKind::Forbidden, message: message.into(), hint: None }
    }
    /// A shape the boundary cannot take.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Refusal { kind: RefusalKind::Unsupported, message: message.into(), hint: None }
    }
    /// Adds the nearest form that works.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
