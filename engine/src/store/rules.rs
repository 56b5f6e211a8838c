//! Rules for people of peers: `analyst@*` and `analyst@cleveland` stand for everybody whom a pinned peer, or that one, calls an analyst.

use kanon_planner::facts::SiteId;

use crate::config::check_node_id;
use crate::error::{Error, Result, Sqlstate};
use crate::principal::{BuiltinRole, Principal};

/// Any pinned peer.
const ANY: &str = "*";

/// The built-in role and the peer of a rule's name, if it is one.
pub(super) fn rule(name: &str) -> Option<(BuiltinRole, &str)> {
    let (role, peer) = name.split_once('@')?;
    Some((BuiltinRole::parse(role)?, peer))
}

/// Whether a name is a rule's.
pub(crate) fn is_rule(name: &str) -> bool {
    rule(name).is_some()
}

/// Whether SELECT can be granted to a rule.
///
/// # Errors
/// 42501 for another built-in role than analyst, 42602 for what is no peer's id.
pub(super) fn check(role: BuiltinRole, peer: &str) -> Result<()> {
    if role != BuiltinRole::Analyst {
        return Err(Error::new(
            Sqlstate::InsufficientPrivilege,
            format!("nothing can be granted to everybody whom a peer calls {}", role.as_str()),
        )
        .hint("Rules are for analysts: \"analyst@*\", or \"analyst@<node id>\"."));
    }
    if peer == ANY {
        return Ok(());
    }
    check_node_id(peer).map_err(|error| Error { state: Sqlstate::InvalidName, ..error })
}

/// The rules that somebody falls under, by name.
pub(super) fn of(principal: &Principal) -> Vec<String> {
    let Some(peer) = &principal.via_peer else { return Vec::new() };
    let named = |peer: &SiteId, role: &str| [format!("{role}@{ANY}"), format!("{role}@{peer}")];
    match principal.told_roles.contains(&BuiltinRole::Analyst) {
        true => named(peer, BuiltinRole::Analyst.as_str()).into(),
        false => Vec::new(),
    }
}

/// What is asked of a rule that only a role can do.
pub(super) fn is_no_role(name: &str) -> Error {
    Error::new(Sqlstate::InsufficientPrivilege, format!("\"{name}\" is a rule and no role"))
        .hint("SELECT can be granted to it, and nothing else. It needs no CREATE ROLE.")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn rules_are_of_analysts() {
        for (name, good) in [
            ("analyst@*", true),
            ("analyst@long_beach", true),
            ("steward@*", false),
            ("admin@cleveland", false),
            ("analyst@", false),
            ("analyst@a b", false),
            ("analyst@**", false),
            ("analyst@kanon", false),
        ] {
            let (role, peer) = rule(name).unwrap();
            assert_eq!(check(role, peer).is_ok(), good, "{name}");
        }
        assert_eq!(rule("alice@cleveland"), None);
        assert_eq!(rule("analyst"), None);
    }
}
