//! DNS-01 by a program of the operator: it sets and clears TXT records, wherever the zone lives.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::time::timeout;

use crate::names::Name;

/// What of the program's complaints is repeated, bytes.
const OUTPUT_MAX: u64 = 2048;
/// For output that is still under way when the program has ended.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What the program is to do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    Set,
    Clear,
}

/// Calls `command ARGUMENTS set|clear RECORD VALUE`, without a shell, and waits for its end.
pub(crate) async fn call(
    command: &[String],
    change: Change,
    name: &Name,
    value: &str,
    limit: Duration,
) -> Result<(), String> {
    let (program, arguments) = command.split_first().ok_or("no dns_hook is set")?;
    let change = match change {
        Change::Set => "set",
        Change::Clear => "clear",
    };
    let record = format!("_acme-challenge.{}", name.base());
    let mut child = Command::new(program)
        .args(arguments)
        .args([change, &record, value])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("dns_hook {program} cannot be started: {error}"))?;
    let stderr = child.stderr.take();
    let reading = async {
        let mut said = Vec::new();
        if let Some(stderr) = stderr {
            let mut stderr = stderr.take(OUTPUT_MAX);
            // What cannot be read is not repeated. The rest goes nowhere, so that the program does not wait for us.
            let _ = stderr.read_to_end(&mut said).await;
            let _ = tokio::io::copy(&mut stderr.into_inner(), &mut tokio::io::sink()).await;
        }
        said
    };
    let run = async {
        let mut reading = std::pin::pin!(reading);
        tokio::select! {
            // It closed its output and is about to end.
            said = &mut reading => (child.wait().await, said),
            // Something that it started may keep the output open.
            status = child.wait() => (status, timeout(LAST_WORDS, reading).await.unwrap_or_default()),
        }
    };
    let (status, said) = timeout(limit, run)
        .await
        .map_err(|_| format!("dns_hook {program} {change} {record} did not end in time and was stopped"))?;
    let status = status.map_err(|error| format!("dns_hook {program}: {error}"))?;
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&said);
    Err(format!("dns_hook {program} {change} {record} failed ({status}): {}", said.trim()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn hook(dir: &tempfile::TempDir, script: &str) -> Vec<String> {
        let path = dir.path().join("hook");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        vec![path.to_str().unwrap().to_owned(), "first argument".to_owned()]
    }

    async fn set(command: &[String], limit: Duration) -> Result<(), String> {
        let name = Name::parse("*.a.example").unwrap();
        call(command, Change::Set, &name, "-va$lue", limit).await
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn the_program_gets_its_arguments_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let script = format!("printf '%s|' \"$@\" > {}", out.display());
        set(&hook(&dir, &script), LONG).await.unwrap();
        let said = std::fs::read_to_string(out).unwrap();
        assert_eq!(said, "first argument|set|_acme-challenge.a.example|-va$lue|");
    }

    #[tokio::test]
    async fn failures_say_what_the_program_said() {
        let dir = tempfile::tempdir().unwrap();
        let error = set(&hook(&dir, "echo no such zone >&2; exit 3"), LONG).await.unwrap_err();
        assert!(error.contains("no such zone") && error.contains('3'), "{error}");
        let error = set(&["/nowhere/hook".into()], LONG).await.unwrap_err();
        assert!(error.contains("cannot be started"), "{error}");
        // More than a pipe holds does not stop it, and is not repeated.
        let script = "head -c 300000 /dev/zero | tr '\\0' x >&2; exit 1";
        let error = set(&hook(&dir, script), LONG).await.unwrap_err();
        assert!(error.len() < 3000, "{}", error.len());
    }

    #[tokio::test]
    async fn what_the_program_leaves_running_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}", pid.display());
        set(&hook(&dir, &script), LONG).await.unwrap();
        let left = std::fs::read_to_string(pid).unwrap();
        std::process::Command::new("kill").arg(left.trim()).status().unwrap();
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let error = set(&hook(&dir, "exec sleep 600"), Duration::from_millis(100)).await.unwrap_err();
        assert!(error.contains("did not end in time"), "{error}");
    }
}
