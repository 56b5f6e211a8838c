//! Why nothing is answered from a table for now.

use crate::error::{Error, Sqlstate};

/// Why nothing is answered from a table that has all that it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halt {
    /// Its steward suspended it.
    Table,
    /// The node is suspended: everything that is not open.
    Node,
    /// The node's store does not know what was spent: it is an older copy of itself.
    Behind,
}

impl Halt {
    /// 55000, with what to do about it.
    pub fn error(self, table: &str) -> Error {
        let halted = |message: String| Error::new(Sqlstate::ObjectNotInPrerequisiteState, message);
        match self {
            Halt::Table => halted(format!("table \"{table}\" was suspended by its steward"))
                .hint("Its steward decides when it answers again."),
            Halt::Behind => halted(format!(
                "nothing is answered from table \"{table}\": this node's store is older than what others hold of its log"
            ))
            .hint(
                "Budgets may have been spent that it does not know of. If no newer copy can be found, a steward says CALL kanon.write_off(): they then count as spent.",
            ),
            Halt::Node => halted(format!("nothing is answered from table \"{table}\": this node is suspended"))
                .hint("Its operator decides when it answers again. Open tables and the views of schema kanon answer."),
        }
    }
}
