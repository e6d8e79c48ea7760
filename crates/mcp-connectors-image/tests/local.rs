//! What the image's program says where `local` is asked for.

use std::process::Command;

#[test]
fn without_local_it_says_which_program_has_it() {
    for words in [&["local"][..], &["local", "--check", "-f", "connectors/", "-o", "sarif"], &["local", "-f", "-"]] {
        let done = Command::new(env!("CARGO_BIN_EXE_mcp-connectors-image")).args(words).output().unwrap();
        // As where `local --check` could not check: never the code of manifests that are refused.
        assert_eq!(done.status.code(), Some(2), "{words:?}");
        assert!(done.stdout.is_empty(), "{words:?}");
        let said = String::from_utf8(done.stderr).unwrap();
        assert!(said.starts_with("error: this is the image's program, which has no `local`"), "{said}");
        assert!(said.contains(&format!("mcp-connectors-{}-", env!("CARGO_PKG_VERSION"))), "{said}");
    }
}
