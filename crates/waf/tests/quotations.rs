//! Prose is no attack: quotations of Debian's `fortunes`, full of quotation marks, dashes, and of shells and C now and then.
#![allow(missing_docs, clippy::print_stderr, reason = "a test crate")]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use selvedge_waf::{Waf, WafConfig};

const QUOTATIONS: &str = "/usr/share/games/fortunes";

#[test]
fn prose_passes() {
    if !Path::new(QUOTATIONS).is_dir() {
        let installed = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../xtask/apt-install"))
            .arg("fortunes")
            .output();
        assert!(installed.is_ok_and(|output| output.status.success()), "fortunes cannot be installed");
    }
    let waf = Arc::new(Waf::new(WafConfig::default(), &[]).unwrap());
    let (mut all, mut refused) = (0, 0);
    let mut files: Vec<_> =
        std::fs::read_dir(QUOTATIONS).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_none() && path.is_file());
    files.sort();
    for path in files {
        let text = String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
        // Each tenth: it is long.
        for quotation in text.split("\n%\n").step_by(10) {
            let encoded: String = quotation.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let mut inspection = waf.inspect("/comments");
            inspection.query(&format!("text={encoded}"));
            all += 1;
            refused += usize::from(inspection.finish().block);
        }
    }
    eprintln!("{refused} of {all} quotations are refused");
    assert!(all > 1000 && refused * 100 <= all, "{refused} of {all}: more than one in a hundred");
}
