//! The same workers on workerd and here: status, fields and bodies are compared, see `differential/run.mjs`.

mod common;

use std::process::Command;

use common::{Selvedge, repository};

#[test]
fn workers_answer_as_in_workerd() {
    let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "64" };
    let dir = repository("crates/selvedge/tests/differential");
    let workerd = dir.join(format!("node_modules/@cloudflare/workerd-linux-{machine}/bin/workerd"));
    assert!(workerd.exists(), "run `npm ci` in crates/selvedge/tests/differential");
    // Of what compresses well the edge says `vary`, as Cloudflare does in front of workerd, and workerd alone does not.
    let selvedge = Selvedge::configured("[edge.compression]\nenabled = false\n");
    let token = std::fs::read_to_string(selvedge.data().join("token")).unwrap();
    let output = Command::new("node")
        .arg(dir.join("run.mjs"))
        .arg(workerd)
        .arg(format!("http://{}", selvedge.admin))
        .args([token.trim(), &selvedge.http.to_string()])
        .output()
        .expect("node is on PATH");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}
