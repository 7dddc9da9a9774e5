//! gRPC with a client and a server of grpc-js, and the executable between them: metadata, trailers, streams, errors, deadlines.

mod common;

use std::process::Command;

use common::Selvedge;
use common::servers::{Authority, free_address, npm, start};

fn check(selvedge: &Selvedge, tls: bool) {
    let mut client = Command::new("node");
    let (address, name) = (if tls { selvedge.https.unwrap() } else { selvedge.http }, "grpc.localhost");
    client.current_dir(npm("grpc")).args(["client.mjs", &address.to_string(), name]);
    if tls {
        client.arg(selvedge.data().join("authority/root.pem"));
    }
    let output = client.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn settings(proxy: &str) -> String {
    format!(
        "[edge]\nlisten = [\"127.0.0.1:0\", {{ address = \"127.0.0.1:0\", tls = true }}]\n\
         [[sites]]\nhosts = [\"grpc.localhost\"]\ntls = {{ redirect = false }}\n\
         [[sites.routes]]\npath = \"/*\"\nproxy = {{ {proxy} }}\n"
    )
}

#[test]
fn calls_pass_without_tls() {
    let (dir, address) = (npm("grpc"), free_address());
    let mut command = Command::new("node");
    let _server = start(command.current_dir(dir).args(["server.mjs", &address.port().to_string()]), address);
    check(&Selvedge::listening(&settings(&format!("to = [\"h2c://{address}\"]"))), false);
}

/// TLS on both sides; the server asks for a certificate.
#[test]
fn calls_pass_in_tls() {
    let (dir, address) = (npm("grpc"), free_address());
    let files = tempfile::tempdir().unwrap();
    let authority = Authority::new(files.path(), "ca");
    authority.issue("server", &["inner.example"]);
    authority.issue("client", &["edge.example"]);
    let file = |name: &str| files.path().join(name).display().to_string();
    let mut command = Command::new("node");
    command.current_dir(dir).args(["server.mjs", &address.port().to_string()]);
    let _server = start(command.args([file("ca.pem"), file("server.pem"), file("server.key")]), address);
    let selvedge = Selvedge::listening(&settings(&format!(
        "to = [\"https://{address}\"], tls = {{ ca = {:?}, certificate = {:?}, key = {:?}, server_name = \"inner.example\" }}",
        file("ca.pem"),
        file("client.pem"),
        file("client.key")
    )));
    // The first handshake makes the authority.
    check(&selvedge, true);
}
