//! Whether two registrations read the same data, so that the people in it have one budget.
//!
//! It is judged by locations alone, which are resolved, links too. What cannot be told apart for sure overlaps. Copies of data elsewhere are the
//! steward's to mind.

use super::source::{Source, SourceKind};

impl Source {
    /// Whether this and another one may read the same rows.
    pub(crate) fn overlaps(&self, other: &Source) -> bool {
        if (self.kind, other.kind) == (SourceKind::Sqlite, SourceKind::Sqlite) {
            // Names of tables are equal in any case there.
            let same = self.table.as_deref().zip(other.table.as_deref()).is_none_or(|(a, b)| a.eq_ignore_ascii_case(b));
            return self.url == other.url && same;
        }
        let (inner, outer) = if self.url.len() >= other.url.len() { (self, other) } else { (other, self) };
        let Some(below) = inner.url.strip_prefix(&outer.url) else { return false };
        if below.is_empty() {
            return may_meet(inner.prefix(), outer.prefix());
        }
        // A folder reads what lies below it, whatever the names of folders on the way.
        outer.url.ends_with('/')
            && (below.contains('/') || may_meet(below, outer.prefix()))
            && (inner.url.ends_with('/') || below.ends_with(outer.suffix.as_str()))
    }

    /// What names of its files in the folder begin with.
    fn prefix(&self) -> &str {
        let glob = self.glob.as_deref().unwrap_or_default();
        glob.split(['*', '?', '[', '{', '\\', '/']).next().unwrap_or_default()
    }
}

/// Whether a name may begin with both.
fn may_meet(a: &str, b: &str) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn source(kind: &str, url: &str, glob: Option<&str>, suffix: &str, table: Option<&str>) -> Source {
        let text = serde_json::json!({
            "kind": kind, "location": "", "url": url, "glob": glob, "suffix": suffix, "table": table
        });
        serde_json::from_value(text).unwrap()
    }

    fn file(url: &str) -> Source {
        source("csv", url, None, "", None)
    }

    #[test]
    fn the_same_files_overlap_however_they_are_named() {
        let folder = source("csv", "file:///data/", None, ".csv", None);
        let some = |glob| source("csv", "file:///data/", Some(glob), "", None);
        let database = |table| source("sqlite", "file:///data/a.db", None, "", Some(table));
        for (a, b, expected) in [
            (file("file:///data/a.csv"), file("file:///data/a.csv"), true),
            (file("file:///data/a.csv"), source("json", "file:///data/a.csv", None, "", None), true),
            (file("file:///data/a.csv"), file("file:///data/b.csv"), false),
            (file("file:///data/a"), file("file:///data/ab"), false),
            (folder.clone(), file("file:///data/a.csv"), true),
            (folder.clone(), file("file:///data/year=2020/a.csv"), true),
            (folder.clone(), file("file:///data/a.parquet"), false),
            (folder.clone(), file("file:///database/a.csv"), false),
            (folder.clone(), source("csv", "file:///data/deep/", None, ".csv", None), true),
            (folder.clone(), some("p*.csv"), true),
            (some("p*.csv"), some("v*.csv"), false),
            (some("p*.csv"), some("patients_?.csv"), true),
            (some("*.csv"), some("v*.csv"), true),
            (some("p*.csv"), file("file:///data/patients.csv"), true),
            (some("p*.csv"), file("file:///data/visits.csv"), false),
            (database("people"), database("People"), true),
            (database("people"), database("rooms"), false),
            (file("s3://one/a.csv"), file("s3://two/a.csv"), false),
        ] {
            assert_eq!(a.overlaps(&b), expected, "{a:?}\n{b:?}");
            assert_eq!(b.overlaps(&a), expected, "{b:?}\n{a:?}");
        }
    }
}
