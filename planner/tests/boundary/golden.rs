//! Queries in files, and what became of each, compared with what stands there. `UPDATE_GOLDEN=1` writes it anew.

use std::fmt::Write as _;
use std::path::Path;

use kanon_planner::explain::explain;
use kanon_planner::refusal::RefusalKind;

use crate::world::{context, decided};

async fn compare(name: &str, queries: &str) {
    let ctx = context();
    let mut text = String::new();
    for sql in self::queries(queries) {
        let _ = writeln!(text, "> {sql}");
        match decided(&ctx, sql).await {
            Ok(decision) => explain(&decision).into_iter().for_each(|l| {
                let _ = writeln!(text, "{l}");
            }),
            Err(r) => {
                let code = match r.kind {
                    RefusalKind::Forbidden => "42501",
                    RefusalKind::Unsupported => "0A000",
                };
                let _ = writeln!(text, "{code} {}", r.message);
                if let Some(hint) = r.hint {
                    let _ = writeln!(text, "HINT {hint}");
                }
            }
        }
        text.push('\n');
    }
    against(name, &text);
}

/// The queries of a file.
pub fn queries(file: &str) -> impl Iterator<Item = &str> {
    file.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with("--"))
}

/// Compares a text with what stands in a file.
pub fn against(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let stands = std::fs::read_to_string(&path).unwrap_or_default();
    for (now, then) in text.split("\n\n").zip(stands.split("\n\n")) {
        assert_eq!(now, then, "in {}", path.display());
    }
    assert_eq!(text.len(), stands.len(), "queries were added or removed: {}", path.display());
}

#[tokio::test]
async fn shapes() {
    compare("shapes", include_str!("shapes.sql")).await;
}

#[tokio::test]
async fn refusals() {
    compare("refusals", include_str!("refusals.sql")).await;
    let text = include_str!("refusals.sql");
    let ctx = context();
    for sql in queries(text) {
        assert!(decided(&ctx, sql).await.is_err(), "{sql} is a refusal");
    }
}
