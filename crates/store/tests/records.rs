//! The records as the control plane uses them, on real files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use selvedge_model::{
    AccountId, Artifact, Binding, BindingValue, Isolation, Limits, Module, ModuleKind, RoutePattern,
    ScriptName, VersionId, Worker,
};
use selvedge_store::{Artifacts, NewVersion, SecretKey, Store, StoreError, VersionShare, new_version_id};
use tempfile::TempDir;

struct Data {
    dir: TempDir,
    store: Store,
    artifacts: Artifacts,
}

fn account() -> AccountId {
    AccountId::default_account()
}

fn name(text: &str) -> ScriptName {
    text.parse().unwrap()
}

fn plain(name: &str, text: &str) -> Binding {
    Binding { name: name.into(), value: BindingValue::PlainText { text: text.into() } }
}

fn secret(name: &str, text: &str) -> Binding {
    Binding { name: name.into(), value: BindingValue::SecretText { text: text.into() } }
}

fn artifact(source: &str) -> Artifact {
    let module = Module { name: "main.js".into(), kind: ModuleKind::Esm, content: source.into() };
    Artifact::new("main.js", vec![module]).unwrap()
}

impl Data {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), None).unwrap();
        let artifacts = Artifacts::open(dir.path().join("artifacts")).unwrap();
        Self { dir, store, artifacts }
    }

    fn reopen(self) -> Self {
        let Self { dir, store, artifacts } = self;
        drop(store);
        Self { store: Store::open(dir.path(), None).unwrap(), dir, artifacts }
    }

    fn new_version(
        &self,
        account: &AccountId,
        script: &str,
        source: &str,
        bindings: Vec<Binding>,
    ) -> NewVersion {
        let worker = Worker {
            account: account.clone(),
            script: name(script),
            version: new_version_id(),
            digest: Artifacts::digest(&artifact(source)),
            bindings,
            limits: Limits { cpu_ms: 7, ..Limits::default() },
            isolation: Isolation::Worker,
            egress: selvedge_model::Egress { allow: vec!["*.example.com".parse().unwrap()], deny: vec![] },
            compatibility_date: "2026-01-01".into(),
            compatibility_flags: vec!["nodejs_compat".into()],
            crons: vec![],
            assets: None,
        };
        NewVersion {
            worker: Arc::new(worker),
            handlers: vec!["fetch".into()],
            message: "m".into(),
            deploy: true,
            routes: None,
        }
    }

    fn deploy(&self, script: &str, source: &str, bindings: Vec<Binding>) -> VersionId {
        let new = self.new_version(&account(), script, source, bindings);
        self.store.add_version(&self.artifacts, &artifact(source), &new).unwrap();
        new.worker.version.clone()
    }

    fn worker(&self, script: &str) -> Arc<Worker> {
        let snapshot = self.store.snapshot().unwrap();
        snapshot.scripts[&(account(), name(script))].shares[0].worker.clone()
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_deployed_version_is_in_the_snapshot_after_a_restart() {
    let data = Data::new();
    let new = data.new_version(&account(), "a", "1", vec![plain("P", "x"), secret("S", "hunter2")]);
    assert!(data.store.add_version(&data.artifacts, &artifact("1"), &new).unwrap());
    let before = data.store.snapshot().unwrap();
    let data = data.reopen();
    let after = data.store.snapshot().unwrap();
    assert_eq!(after.scripts, before.scripts);
    assert_eq!(after.scripts[&(account(), name("a"))].shares[0].worker, new.worker);
    assert!(after.generation >= before.generation);
    assert_eq!(data.artifacts.get(&new.worker.digest).unwrap(), artifact("1"));
}

#[test]
fn an_unchanged_worker_is_the_same_one_in_the_next_snapshot() {
    let data = Data::new();
    data.deploy("a", "1", vec![]);
    let before = data.worker("a");
    let generation = data.store.snapshot().unwrap().generation;
    data.deploy("b", "1", vec![]);
    assert!(Arc::ptr_eq(&before, &data.worker("a")));
    assert_eq!(data.store.snapshot().unwrap().generation, generation + 1);
}

#[test]
fn secrets_are_sealed_on_the_disk_and_shown_by_name_only() {
    let data = Data::new();
    data.deploy("a", "1", vec![secret("S", "hunter2-in-the-clear")]);
    let versions = data.store.versions(&account(), &name("a")).unwrap();
    assert!(!format!("{versions:?}").contains("hunter2"));
    assert_eq!(versions[0].bindings, [secret("S", "")]);
    for entry in fs::read_dir(data.dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = fs::read(&path).unwrap();
            assert!(!bytes.windows(7).any(|part| part == b"hunter2"), "{}", path.display());
        }
    }
}

#[test]
fn private_files_belong_to_their_owner_alone() {
    let data = Data::new();
    assert_eq!(mode(&data.dir.path().join("secret.key")), 0o600);
    assert_eq!(mode(&data.dir.path().join("token")), 0o600);
    let fresh = data.dir.path().join("fresh");
    Store::open(&fresh, None).unwrap();
    assert_eq!(mode(&fresh), 0o700);
}

#[test]
fn a_wrong_or_missing_key_is_refused_clearly() {
    let data = Data::new();
    data.deploy("a", "1", vec![secret("S", "x")]);
    let dir = data.dir.path();
    let other = SecretKey::from_hex(&"ab".repeat(32)).unwrap();
    let error = Store::open(dir, Some(other.clone())).unwrap_err();
    assert!(matches!(error, StoreError::WrongKey), "{error}");
    assert!(error.to_string().contains("secret.key"), "{error}");

    let key = fs::read_to_string(dir.join("secret.key")).unwrap();
    fs::remove_file(dir.join("secret.key")).unwrap();
    let error = Store::open(dir, None).unwrap_err();
    assert!(matches!(error, StoreError::KeyMissing(_)), "{error}");
    assert!(!dir.join("secret.key").exists(), "no new key is made over sealed secrets");
    Store::open(dir, Some(SecretKey::from_hex(&key).unwrap())).unwrap();

    fs::write(dir.join("secret.key"), "not a key").unwrap();
    assert!(matches!(Store::open(dir, None), Err(StoreError::BadKey)));

    let by_env = tempfile::tempdir().unwrap();
    Store::open(by_env.path(), Some(other.clone())).unwrap();
    assert!(!by_env.path().join("secret.key").exists());
    Store::open(by_env.path(), Some(other)).unwrap();
}

#[test]
fn the_token_file_always_holds_a_valid_token() {
    let data = Data::new();
    let path = data.dir.path().join("token");
    let first = fs::read_to_string(&path).unwrap();
    assert_eq!(data.store.authenticate(first.trim()).unwrap(), Some(account()));
    let data = data.reopen();
    assert_eq!(fs::read_to_string(&path).unwrap(), first, "a restart keeps the token");
    fs::remove_file(&path).unwrap();
    let data = data.reopen();
    let second = fs::read_to_string(&path).unwrap();
    assert_eq!(data.store.authenticate(second.trim()).unwrap(), Some(account()));
    assert_eq!(data.store.authenticate(first.trim()).unwrap(), None, "the lost token is replaced");
    for wrong in ["", "slv_", &"x".repeat(100_000), &first[..first.len() - 2]] {
        assert_eq!(data.store.authenticate(wrong).unwrap(), None);
    }
    let named = data.store.create_token(&account(), "ci").unwrap();
    assert_eq!(data.store.authenticate(named.as_str()).unwrap(), Some(account()));
    assert!(!format!("{named:?}").contains(&named.as_str()[4..12]));
}

#[test]
fn deployments_split_roll_back_and_refuse_foreign_versions() {
    let data = Data::new();
    let (a1, a2) = (data.deploy("a", "1", vec![]), data.deploy("a", "2", vec![]));
    let b1 = data.deploy("b", "1", vec![]);
    let (store, artifacts, a) = (&data.store, &data.artifacts, name("a"));
    let split = [
        VersionShare { version: a1.clone(), percentage: 10.0 },
        VersionShare { version: a2.clone(), percentage: 90.0 },
    ];
    store.deploy(artifacts, &account(), &a, &split, "canary").unwrap();
    let snapshot = store.snapshot().unwrap();
    let shares = &snapshot.scripts[&(account(), a.clone())].shares;
    assert_eq!(shares.iter().map(|s| s.percentage).collect::<Vec<_>>(), [10.0, 90.0]);
    assert_eq!(store.script(&account(), &a).unwrap().version, Some(a2.clone()));
    assert!(matches!(
        store.change_secret(artifacts, &account(), &a, "S", Some("x")),
        Err(StoreError::SplitDeployment(_))
    ));

    store.rollback(artifacts, &account(), &a, None, "").unwrap();
    assert_eq!(data.worker("a").version, a2);
    store.rollback(artifacts, &account(), &a, Some(a1.clone()), "").unwrap();
    assert_eq!(data.worker("a").version, a1);
    assert_eq!(store.deployments(&account(), &a).unwrap().len(), 5);

    let foreign = store.rollback(artifacts, &account(), &a, Some(b1), "").unwrap_err();
    assert!(matches!(foreign, StoreError::VersionNotFound { .. }), "{foreign}");
    assert!(matches!(
        store.rollback(artifacts, &account(), &name("b"), None, ""),
        Err(StoreError::NothingToRollBack(_))
    ));
    assert_eq!(data.worker("a").version, a1);
}

#[test]
fn a_secret_makes_a_new_version_of_the_same_code() {
    let data = Data::new();
    let first = data.deploy("a", "1", vec![plain("P", "x"), plain("S", "plain"), secret("T", "kept")]);
    let (store, artifacts, a) = (&data.store, &data.artifacts, name("a"));
    let second = store.change_secret(artifacts, &account(), &a, "S", Some("hunter2")).unwrap();
    let worker = data.worker("a");
    assert_ne!(first, second);
    assert_eq!(worker.version, second);
    assert_eq!(worker.bindings, [plain("P", "x"), secret("S", "hunter2"), secret("T", "kept")]);
    assert_eq!(store.secret_names(&account(), &a).unwrap(), ["S", "T"]);

    store.change_secret(artifacts, &account(), &a, "S", None).unwrap();
    assert_eq!(data.worker("a").bindings, [plain("P", "x"), secret("T", "kept")]);
    assert!(matches!(
        store.change_secret(artifacts, &account(), &a, "S", None),
        Err(StoreError::SecretNotFound { .. })
    ));
    assert!(matches!(
        store.change_secret(artifacts, &account(), &name("none"), "S", None),
        Err(StoreError::ScriptNotFound(_))
    ));
}

#[test]
fn a_route_has_one_owner_and_a_conflict_records_nothing() {
    let data = Data::new();
    data.deploy("a", "1", vec![]);
    data.deploy("b", "1", vec![]);
    let pattern: RoutePattern = "Example.com".parse().unwrap();
    let same: RoutePattern = "https://example.com/*".parse().unwrap();
    data.store.set_routes(&account(), &name("a"), &[pattern.clone(), same.clone()]).unwrap();
    assert_eq!(data.store.script(&account(), &name("a")).unwrap().routes, [pattern]);

    let error = data.store.set_routes(&account(), &name("b"), std::slice::from_ref(&same)).unwrap_err();
    assert!(error.to_string().contains("script a"), "{error}");
    let other: AccountId = "other".parse().unwrap();
    data.store.create_account(&other).unwrap();
    let mut new = data.new_version(&other, "c", "new", vec![]);
    new.routes = Some(vec![same.clone()]);
    let error = data.store.add_version(&data.artifacts, &artifact("new"), &new).unwrap_err();
    assert!(error.to_string().contains("another account"), "{error}");
    new.routes = Some(vec!["example.com/a/part/of/it".parse().unwrap()]);
    let error = data.store.add_version(&data.artifacts, &artifact("new"), &new).unwrap_err();
    assert!(error.to_string().contains("another account"), "{error}");
    assert!(data.store.scripts(&other).unwrap().is_empty());
    assert_eq!(data.store.sweep_artifacts(&data.artifacts).unwrap(), 1, "its artifact is swept");

    data.store.set_routes(&account(), &name("a"), &[]).unwrap();
    data.store.set_routes(&account(), &name("b"), &[same]).unwrap();
    assert_eq!(data.store.snapshot().unwrap().routes.len(), 1);
    assert!(data.store.routes(&other).unwrap().is_empty());
}

#[test]
fn deleting_a_script_removes_everything_but_shared_artifacts() {
    let data = Data::new();
    data.deploy("a", "own", vec![secret("S", "x")]);
    data.deploy("a", "shared", vec![]);
    data.deploy("b", "shared", vec![]);
    data.store.set_routes(&account(), &name("a"), &["x.org".parse().unwrap()]).unwrap();
    data.store.delete_script(&data.artifacts, &account(), &name("a")).unwrap();
    assert_eq!(data.artifacts.list().unwrap(), [Artifacts::digest(&artifact("shared"))]);
    let snapshot = data.store.snapshot().unwrap();
    assert_eq!(snapshot.scripts.len(), 1);
    assert!(snapshot.routes.is_empty());
    assert!(matches!(
        data.store.delete_script(&data.artifacts, &account(), &name("a")),
        Err(StoreError::ScriptNotFound(_))
    ));
}

#[test]
fn old_versions_go_but_never_a_deployed_one_nor_the_one_before() {
    let data = Data::new();
    let kept = selvedge_store::retention::VERSIONS_KEPT;
    let before = data.deploy("a", "before", vec![]);
    let deployed = data.deploy("a", "deployed", vec![]);
    let mut last = None;
    for n in 0..kept + 3 {
        let source = format!("n{n}");
        let mut new = data.new_version(&account(), "a", &source, vec![]);
        new.deploy = false;
        data.store.add_version(&data.artifacts, &artifact(&source), &new).unwrap();
        last = Some(new.worker.version.clone());
    }
    let versions = data.store.versions(&account(), &name("a")).unwrap();
    assert_eq!(versions.len(), kept + 2);
    assert_eq!(Some(&versions[0].id), last.as_ref());
    assert_eq!(data.artifacts.list().unwrap().len(), kept + 2);
    assert_eq!(data.worker("a").version, deployed);
    data.store.rollback(&data.artifacts, &account(), &name("a"), None, "").unwrap();
    assert_eq!(data.worker("a").version, before);
}

/// A child opens the database, deploys in an endless loop and says which deployments are acknowledged; it is
/// killed in the middle. Whatever was acknowledged is there.
#[test]
fn acknowledged_deployments_survive_a_kill() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    const CHILD: &str = "SELVEDGE_STORE_TEST_CHILD";
    if let Ok(dir) = std::env::var(CHILD) {
        let store = Store::open(Path::new(&dir), None).unwrap();
        let artifacts = Artifacts::open(Path::new(&dir).join("artifacts")).unwrap();
        let data = Data { dir: tempfile::tempdir().unwrap(), store, artifacts };
        for n in 0.. {
            let version = data.deploy("a", &n.to_string(), vec![secret("S", "x")]);
            // The test harness captures `println!`; a file descriptor it does not.
            use std::io::Write;
            writeln!(std::io::stderr(), "ack {version}").unwrap();
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "acknowledged_deployments_survive_a_kill", "--nocapture"])
        .env(CHILD, dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut acknowledged = Vec::new();
    for line in lines.map_while(Result::ok) {
        if let Some(version) = line.strip_prefix("ack ") {
            acknowledged.push(version.parse::<VersionId>().unwrap());
        }
        if acknowledged.len() == 20 {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(acknowledged.len() >= 20);

    let store = Store::open(dir.path(), None).unwrap();
    let artifacts = Artifacts::open(dir.path().join("artifacts")).unwrap();
    let versions = store.versions(&account(), &name("a")).unwrap();
    for version in acknowledged.iter().rev().take(selvedge_store::retention::VERSIONS_KEPT) {
        let record = versions.iter().find(|record| record.id == *version).expect("an acknowledged version");
        artifacts.get(&record.digest).unwrap();
    }
    store.snapshot().unwrap();
    store.sweep_artifacts(&artifacts).unwrap();
    assert!(artifacts.list().unwrap().len() <= versions.len());
}

/// Whatever migrations come later, what schema 1 held is still served.
#[test]
fn a_database_of_schema_1_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let db = rusqlite::Connection::open(dir.path().join("selvedge.db")).unwrap();
    // The dump's order is alphabetical.
    db.pragma_update(None, "foreign_keys", "OFF").unwrap();
    db.execute_batch(include_str!("data/schema-1.sql")).unwrap();
    db.close().unwrap();
    let key = SecretKey::from_hex(&"ab".repeat(32)).unwrap();
    let store = Store::open(dir.path(), Some(key)).unwrap();
    let snapshot = store.snapshot().unwrap();
    let shares = &snapshot.scripts[&(account(), name("a"))].shares;
    assert_eq!(shares[0].percentage, 100.0);
    assert_eq!(shares[0].worker.bindings, [plain("P", "x"), secret("S", "hunter2")]);
    assert_eq!(shares[0].worker.limits.cpu_ms, 7);
    assert_eq!(snapshot.routes[0].pattern.to_string(), "x.org/*");
    assert!(snapshot.generation > 604, "generations go on");
}

#[test]
fn a_database_of_a_newer_program_is_refused_and_left_alone() {
    let data = Data::new();
    let path = data.dir.path().join("selvedge.db");
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute("INSERT INTO schema_migration (number, applied_at) VALUES (1000, 0)", []).unwrap();
    db.close().unwrap();
    let error = Store::open(data.dir.path(), None).unwrap_err();
    assert!(matches!(error, StoreError::NewerSchema { found: 1000, .. }), "{error}");
}

#[test]
fn one_damaged_script_does_not_hide_the_others() {
    let data = Data::new();
    data.deploy("a", "1", vec![]);
    data.deploy("b", "1", vec![secret("S", "x")]);
    let db = rusqlite::Connection::open(data.dir.path().join("selvedge.db")).unwrap();
    db.execute("UPDATE version_secret SET sealed = x'00'", []).unwrap();
    db.close().unwrap();
    let data = data.reopen();
    let snapshot = data.store.snapshot().unwrap();
    assert_eq!(snapshot.scripts.keys().map(|(_, script)| script.as_str()).collect::<Vec<_>>(), ["a"]);
    data.deploy("b", "2", vec![secret("S", "y")]);
    assert_eq!(data.worker("b").bindings, [secret("S", "y")]);
}
