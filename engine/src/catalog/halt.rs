//! Why nothing is answered from a table for now.

use crate::error::{Error, Sqlstate};

/// Why nothing is answered from a table that has all that it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halt {
    /// Its steward suspended it.
    Table,
    /// The node is suspended: everything that is not open.
    Node,
}

impl Halt {
    /// 55000, with what to do about it.
    pub fn error(self, table: &str) -> Error {
        let halted = |message: String| Error::new(Sqlstate::ObjectNotInPrerequisiteState, message);
        match self {
            Halt::Table => halted(format!("table \"{table}\" was suspended by its steward"))
                .hint("Its steward decides when it answers again."),
            Halt::Node => halted(format!("nothing is answered from table \"{table}\": this node is suspended"))
                .hint("Its operator decides when it answers again. Open tables and the views of schema kanon answer."),
        }
    }
}
