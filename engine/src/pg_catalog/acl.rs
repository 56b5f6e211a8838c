//! Access privileges as PostgreSQL writes them: `alice=r/root`, who may, what, and who granted it; nobody's name is everybody.

/// The privileges by their letters.
const PRIVILEGES: [(char, &str); 12] = [
    ('r', "SELECT"),
    ('a', "INSERT"),
    ('w', "UPDATE"),
    ('d', "DELETE"),
    ('D', "TRUNCATE"),
    ('x', "REFERENCES"),
    ('t', "TRIGGER"),
    ('X', "EXECUTE"),
    ('U', "USAGE"),
    ('C', "CREATE"),
    ('c', "CONNECT"),
    ('T', "TEMPORARY"),
];

/// One privilege of one grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Granted {
    /// Empty for everybody.
    pub(crate) grantee: String,
    pub(crate) grantor: String,
    /// Its name.
    pub(crate) privilege: &'static str,
    /// WITH GRANT OPTION.
    pub(crate) is_grantable: bool,
}

/// That a role may read, as granted by another.
pub(crate) fn may_select(grantee: &str, grantor: &str) -> String {
    format!("{}=r/{}", quoted(grantee), quoted(grantor))
}

/// What an item says, privilege by privilege; nothing of a text that is none.
pub(crate) fn explode(item: &str) -> Vec<Granted> {
    let Some((grantee, rest)) = role(item) else { return Vec::new() };
    let Some((letters, grantor)) = rest.strip_prefix('=').and_then(|rest| rest.split_once('/')) else {
        return Vec::new();
    };
    let Some((grantor, "")) = role(grantor) else { return Vec::new() };
    let mut all = Vec::new();
    let mut letters = letters.chars().peekable();
    while let Some(letter) = letters.next() {
        let is_grantable = letters.next_if_eq(&'*').is_some();
        if let Some((_, privilege)) = PRIVILEGES.iter().find(|(known, _)| *known == letter) {
            all.push(Granted { grantee: grantee.clone(), grantor: grantor.clone(), privilege, is_grantable });
        }
    }
    all
}

/// The role that a text begins with, and what follows it.
fn role(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find(|c| !is_plain(c)).unwrap_or(text.len());
        return text.split_at_checked(end).map(|(name, rest)| (name.to_owned(), rest));
    };
    let mut name = String::new();
    loop {
        let (part, after) = rest.split_once('"')?;
        name += part;
        match after.strip_prefix('"') {
            Some(after) => {
                name.push('"');
                rest = after;
            }
            None => return Some((name, after)),
        }
    }
}

fn is_plain(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn quoted(role: &str) -> String {
    if role.chars().all(is_plain) { role.to_owned() } else { format!("\"{}\"", role.replace('"', "\"\"")) }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_read_as_it_was_written() {
        for (grantee, grantor) in [("alice", "root"), ("", "root"), ("a \"b\"=r/c", "d/e"), ("alice@cleveland", "Zoë")]
        {
            let item = may_select(grantee, grantor);
            let found = explode(&item);
            assert_eq!(found.len(), 1, "{item}");
            assert_eq!((found[0].grantee.as_str(), found[0].grantor.as_str()), (grantee, grantor), "{item}");
            assert_eq!((found[0].privilege, found[0].is_grantable), ("SELECT", false));
        }
    }

    #[test]
    fn every_letter_is_a_privilege() {
        let found = explode("alice=r*aU/root");
        let said: Vec<_> = found.iter().map(|granted| (granted.privilege, granted.is_grantable)).collect();
        assert_eq!(said, [("SELECT", true), ("INSERT", false), ("USAGE", false)]);
        assert!(explode("alice").is_empty() && explode("\"alice=r/root").is_empty() && explode("a=r/b c").is_empty());
    }
}
