//! The patches that break one rule each still apply. That each is caught is for `make audit`: it takes long.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

use std::path::Path;
use std::process::Command;

use kanon_tests::tools::skip;

#[test]
fn every_broken_build_can_still_be_made() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let git = |arguments: &[&str]| Command::new("git").current_dir(root).args(arguments).output();
    if !git(&["rev-parse", "--is-inside-work-tree"]).is_ok_and(|output| output.status.success()) {
        return skip("git or its work tree is not here");
    }
    let mut patches = 0;
    for entry in std::fs::read_dir(root.join("tests/broken")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "patch") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let says = |what: &str| text.lines().any(|line| line.strip_prefix(what).is_some_and(|rest| rest.len() > 5));
        assert!(says("Rule: ") && says("Caught by: "), "{} does not say what it breaks", path.display());
        let output = git(&["apply", "--check", "--recount", "-C1", &path.to_string_lossy()]).unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{} does not apply any more: {said}", path.display());
        patches += 1;
    }
    assert!(patches >= 12, "{patches} patches");
}
