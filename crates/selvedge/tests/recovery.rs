//! What the platform does about trouble that is nobody's fault: killed processes, full queues, full memory, restarts.

mod common;

use std::collections::HashMap;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;

use common::api::Module;
use common::client::Client;
use common::{Answer, Selvedge, eventually, up};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// Says which version it is; `/slow` takes its time, `/hold` until it is let go by `/go`.
fn worker(version: &str) -> String {
    format!(
        "let waiting = [];\n\
         export default {{\n\
           async fetch(request) {{\n\
             const {{ pathname }} = new URL(request.url);\n\
             if (pathname === '/slow') await new Promise((resolve) => setTimeout(resolve, 700));\n\
             if (pathname === '/busy') console.log('busy');\n\
             if (pathname === '/busy') await new Promise((resolve) => setTimeout(resolve, 1500));\n\
             return new Response('{version}');\n\
           }},\n\
         }};\n"
    )
}

fn kill(pid: u32) {
    kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL).unwrap();
}

/// The pid of the one host that serves a group.
fn host(selvedge: &Selvedge, group: &str) -> u32 {
    let hosts = selvedge.hosts_of(group);
    assert_eq!(hosts.len(), 1, "{}", selvedge.status());
    hosts[0]
}

fn is_overload(answer: &Answer) -> bool {
    answer.status == 503 && answer.header("retry-after").is_some()
}

/// Waits until the worker has said `text`.
fn said(selvedge: &Selvedge, name: &str, text: &str) {
    eventually(text, || selvedge.logs(name).iter().any(|event| event["message"] == text).then_some(()));
}

#[test]
fn a_killed_host_under_load_costs_no_request() {
    let selvedge = Selvedge::start();
    selvedge.deploy_limited("w", &worker("one"), json!({}));
    let clients: Vec<_> = (0..8).map(|_| Client::start(&selvedge, "w")).collect();
    let mut killed = Vec::new();
    for _ in 0..4 {
        clients[0].more(20);
        let pid = eventually("there is a host", || selvedge.hosts_of("account default").first().copied());
        kill(pid);
        killed.push(pid);
        eventually("the host is replaced", || {
            let hosts = selvedge.hosts_of("account default");
            (!hosts.is_empty() && !hosts.contains(&pid)).then_some(())
        });
    }
    for client in clients {
        client.finish();
    }
    assert!(selvedge.metric("selvedge_hosts_ended") >= 4);
}

#[test]
fn what_cannot_be_repeated_is_answered_with_503() {
    let selvedge = Selvedge::start();
    selvedge.deploy_limited("w", &worker("one"), json!({}));
    let mut stream = std::net::TcpStream::connect(selvedge.http).unwrap();
    let head = "POST /busy HTTP/1.1\r\nhost: w.localhost\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    said(&selvedge, "w", "busy");
    kill(host(&selvedge, "account default"));
    let answer = Answer::read(stream);
    assert_eq!((answer.status, answer.code().as_str()), (503, "sandbox_lost"), "{answer:?}");
    assert!(is_overload(&answer), "{answer:?}");
    assert!(selvedge.logs("w").iter().any(|event| event["code"] == "sandbox_lost"));
    assert_eq!(selvedge.get("w", "/").body, "one");
}

#[test]
fn a_killed_host_touches_no_other_group() {
    let selvedge = Selvedge::start();
    let alone = json!({ "isolation": "worker" });
    for name in ["a", "b"] {
        let answer = selvedge.upload(name, alone.clone(), &[Module::main(&worker(name))]);
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(selvedge.get(name, "/").body, name);
    }
    let other = host(&selvedge, "worker default/b");
    kill(host(&selvedge, "worker default/a"));
    assert_eq!(selvedge.get("a", "/").body, "a");
    assert_eq!(host(&selvedge, "worker default/b"), other);
}

/// Hosts that keep dying are not started ever faster; requests are told to come back instead.
#[test]
fn a_crash_loop_backs_off_and_ends() {
    let selvedge = Selvedge::start();
    selvedge.deploy_limited("w", &worker("one"), json!({}));
    let client = Client::tolerating(&selvedge, "w", is_overload);
    let before = selvedge.metric("selvedge_hosts_started");
    let mut killed = 0;
    // Without a pause between them, thousands could be started and killed in this time.
    for _ in 0..150 {
        for host in selvedge.status()["hosts"].as_array().unwrap() {
            let pid = Pid::from_raw(host["pid"].as_u64().unwrap() as i32).unwrap();
            killed += u64::from(kill_process(pid, Signal::KILL).is_ok());
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let started = selvedge.metric("selvedge_hosts_started") - before;
    assert!(killed >= 3 && started < 40, "{killed} killed, {started} started");
    eventually("it recovers", || (selvedge.get("w", "/").status == 200).then_some(()));
    client.finish();
}

#[test]
fn a_killed_selvedge_keeps_every_acknowledged_deploy() {
    let mut selvedge = Selvedge::start();
    let mut acknowledged: HashMap<String, String> = HashMap::new();
    for round in 0..3 {
        let mut deploys = Vec::new();
        for name in ["a", "b", "c", "d"] {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("index.js");
            std::fs::write(&file, worker(&format!("{name}{round}"))).unwrap();
            let mut deploy = selvedge.command(&["deploy", file.to_str().unwrap(), "--name", name, "--json"]);
            let child = deploy.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
            deploys.push((name, child, dir));
        }
        // Somewhere in the midst of them, each time somewhere else.
        let first = deploys.remove(0);
        let (name, child, _dir) = first;
        if child.wait_with_output().unwrap().status.success() {
            acknowledged.insert(name.into(), format!("{name}{round}"));
        }
        std::thread::sleep(std::time::Duration::from_millis(round * 15));
        selvedge.signal(Signal::KILL);
        let mut unknown = Vec::new();
        for (name, child, _dir) in deploys {
            match child.wait_with_output().unwrap().status.success() {
                true => drop(acknowledged.insert(name.into(), format!("{name}{round}"))),
                false => unknown.push(name),
            }
        }
        selvedge = Selvedge::start_in(selvedge.ended());
        for (name, text) in &mut acknowledged {
            let answer = selvedge.get(name, "/");
            assert_eq!(answer.status, 200, "{name}: {answer:?}");
            // What was not acknowledged may still have been recorded; nothing else may answer.
            let newer = format!("{name}{round}");
            let fine = answer.body == *text || (unknown.contains(&name.as_str()) && answer.body == newer);
            assert!(fine, "{name} answers {:?} instead of {text:?}", answer.body);
            *text = answer.body;
        }
    }
    assert!(!acknowledged.is_empty());
}

#[test]
fn deploys_lose_no_request() {
    let selvedge = Selvedge::start();
    selvedge.deploy_limited("w", &worker("one"), json!({}));
    let clients: Vec<_> = (0..4).map(|_| Client::start(&selvedge, "w")).collect();
    let mut slow = Vec::new();
    for version in ["two", "three", "four", "five"] {
        let before = selvedge.get("w", "/").body;
        slow.push((before, selvedge.begin("w", "/slow")));
        slow.push((selvedge.get("w", "/").body, selvedge.begin("w", "/slow")));
        clients[0].more(5);
        selvedge.deploy_limited("w", &worker(version), json!({}));
        // Acknowledged means: whoever comes now gets the new version.
        assert_eq!(selvedge.get("w", "/").body, version);
    }
    for (version, stream) in slow {
        let answer = Answer::read(stream);
        assert_eq!((answer.status, answer.body), (200, version));
    }
    for client in clients {
        client.finish();
    }
}

#[test]
fn idle_workers_are_unloaded() {
    let selvedge = Selvedge::configured("[engine]\nidle_s = 1\n");
    selvedge.deploy_limited("w", &worker("one"), json!({}));
    assert_eq!(selvedge.get("w", "/").status, 200);
    let cold = selvedge.metric("selvedge_cold_starts");
    eventually("no isolate is left", || (selvedge.metric("selvedge_isolates") == 0).then_some(()));
    assert_eq!(selvedge.status()["isolates"], 0);
    eventually("nor the group's host", || selvedge.hosts_of("account default").is_empty().then_some(()));
    assert_eq!(selvedge.get("w", "/").body, "one");
    assert_eq!(selvedge.metric("selvedge_cold_starts"), cold + 1);
}

/// A request that takes longer than the idle time is not idle.
#[test]
fn busy_workers_are_not_unloaded() {
    let selvedge = Selvedge::configured("[engine]\nidle_s = 1\n");
    selvedge.deploy_limited("w", &worker("one"), json!({}));
    let busy = selvedge.begin("w", "/busy");
    let answer = Answer::read(busy);
    assert_eq!((answer.status, answer.body.as_str()), (200, "one"));
}

#[test]
fn the_least_recently_used_go_when_memory_is_full() {
    let selvedge = Selvedge::configured("[engine]\nmemory_budget_mb = 160\nhost_threads = 1\n");
    let hog = "const kept = new Uint8Array(24 << 20).fill(1);\n\
               export default { fetch() { return new Response(String(kept[7])) } }";
    for index in 0..8 {
        let name = format!("w{index}");
        selvedge.deploy_limited(&name, hog, json!({}));
        assert_eq!(selvedge.get(&name, "/").body, "1");
    }
    eventually("some are unloaded", || (selvedge.metric("selvedge_evictions") > 0).then_some(()));
    // Isolates that are loaded already may go over it by an eighth before one is unloaded.
    eventually("the rest fits", || {
        let status = selvedge.status();
        let (used, budget) = (status["memory_bytes"].as_u64()?, status["memory_budget_bytes"].as_u64()?);
        (used <= budget + budget / 8).then_some(())
    });
    for index in 0..8 {
        assert_eq!(selvedge.get(&format!("w{index}"), "/").body, "1");
    }
}

#[test]
fn first_requests_start_one_isolate() {
    let selvedge = Selvedge::start();
    selvedge.deploy_limited("w", &worker("one"), json!({}));
    let selvedge = {
        selvedge.signal(Signal::TERM);
        Selvedge::start_in(selvedge.ended())
    };
    assert_eq!(selvedge.metric("selvedge_cold_starts"), 0);
    let streams: Vec<_> = (0..50).map(|_| selvedge.begin("w", "/slow")).collect();
    for stream in streams {
        assert_eq!(Answer::read(stream).body, "one");
    }
    assert_eq!(selvedge.metric("selvedge_cold_starts"), 1);
    assert_eq!(selvedge.status()["isolates"], 1);
}

#[test]
fn beyond_its_queue_a_worker_is_overloaded() {
    let selvedge = Selvedge::configured("[engine]\nhost_threads = 1\n");
    selvedge.deploy_limited("w", &worker("one"), json!({ "concurrency": 1, "queue": 1 }));
    let first = selvedge.begin("w", "/busy");
    said(&selvedge, "w", "busy");
    let others: Vec<_> = (0..5).map(|_| selvedge.begin("w", "/slow")).collect();
    let answers: Vec<Answer> = others.into_iter().map(Answer::read).collect();
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status != 200).collect();
    assert_eq!(refused.len(), 4, "{answers:?}");
    for answer in refused {
        assert_eq!((answer.status, answer.code().as_str()), (503, "worker_overloaded"), "{answer:?}");
        assert!(is_overload(answer), "{answer:?}");
    }
    assert_eq!(Answer::read(first).body, "one");
    assert_eq!(selvedge.get("w", "/").body, "one");
}

/// Requests in the queue of a worker that is stopped are not its victims.
#[test]
fn a_queue_outlives_its_isolate() {
    let selvedge = Selvedge::configured("[engine]\nhost_threads = 1\n");
    selvedge.deploy_limited("w", &worker("one"), json!({ "concurrency": 1, "queue": 8 }));
    let first = selvedge.begin("w", "/busy");
    said(&selvedge, "w", "busy");
    let others: Vec<_> = (0..4).map(|_| selvedge.begin("w", "/")).collect();
    kill(host(&selvedge, "account default"));
    for stream in others.into_iter().chain([first]) {
        let answer = Answer::read(stream);
        assert_eq!((answer.status, answer.body.as_str()), (200, "one"), "{answer:?}");
    }
}

#[test]
fn traffic_is_split_by_percentages() {
    let selvedge = Selvedge::start();
    let old = selvedge.deploy_limited("w", &worker("old"), json!({}));
    let new = selvedge.deploy_limited("w", &worker("new"), json!({}));
    let deploy = |shares: Value| {
        let body = json!({ "versions": shares }).to_string();
        let path = "accounts/default/scripts/w/deployments";
        selvedge.api("POST", path, "application/json", body.as_bytes())
    };
    let answer = deploy(json!([{ "version": old, "percentage": 80 }, { "version": new, "percentage": 20 }]));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let got_old = (0..300).filter(|_| selvedge.get("w", "/").body == "old").count();
    // Expected are 240; beyond these bounds lies less than one run in a billion.
    assert!((195..285).contains(&got_old), "{got_old} of 300");
    let answer = deploy(json!([{ "version": old, "percentage": 100 }]));
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!((0..50).all(|_| selvedge.get("w", "/").body == "old"));
}

#[test]
fn a_stopping_selvedge_finishes_what_it_began() {
    let selvedge = Selvedge::start();
    selvedge.deploy_limited("w", &worker("one"), json!({}));
    let busy: Vec<_> = (0..10).map(|_| selvedge.begin("w", "/busy")).collect();
    eventually("all are in the worker", || (selvedge.logs("w").len() == 10).then_some(()));
    selvedge.signal(Signal::TERM);
    for stream in busy {
        assert_eq!(Answer::read(stream).body, "one");
    }
    selvedge.ended();
}

#[test]
fn a_taken_port_is_explained() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for option in ["--http", "--admin"] {
        let data = tempfile::tempdir().unwrap();
        let mut command = common::selvedge();
        let other = if option == "--http" { "--admin=127.0.0.1:0" } else { "--http=127.0.0.1:0" };
        command.args(["up", "--access-log=off", other, option, &address, "--data"]);
        let output = command.arg(data.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let shown = String::from_utf8_lossy(&output.stderr);
        assert!(shown.contains(&address), "{shown}");
        assert!(shown.contains("in use"), "{shown}");
    }
}

#[test]
fn a_taken_data_directory_is_explained() {
    let selvedge = Selvedge::start();
    let output = up(selvedge.data()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let shown = String::from_utf8_lossy(&output.stderr);
    assert!(
        shown.contains("in use by another Selvedge") && shown.contains(&selvedge.pid().to_string()),
        "{shown}"
    );
}

/// A code cache that was cut off or overwritten by a crash is not trusted.
#[test]
fn a_damaged_code_cache_is_no_obstacle() {
    let selvedge = Selvedge::start();
    selvedge.deploy_limited("w", &worker("one"), json!({}));
    let cache = selvedge.data().join("code-cache");
    // A directory for each group of workers that share a process.
    let within = |dir: &Path| std::fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path());
    let files = || within(&cache).flat_map(|group| within(&group).collect::<Vec<_>>()).collect::<Vec<_>>();
    eventually("the cache is written", || {
        files().iter().any(|path| path.extension().is_none()).then_some(())
    });
    selvedge.signal(Signal::KILL);
    for path in files() {
        let length = std::fs::metadata(&path).unwrap().len() as usize;
        std::fs::write(&path, vec![0xa5; length / 2]).unwrap();
    }
    let selvedge = Selvedge::start_in(selvedge.ended());
    assert_eq!(selvedge.get("w", "/").body, "one");
}

/// A host that stands still outside of any worker's turn is found by asking it, and what waits for it is repeated.
#[test]
fn a_host_that_hangs_is_ended() {
    let selvedge = Selvedge::start();
    selvedge.deploy_limited("w", &worker("one"), json!({}));
    assert_eq!(selvedge.get("w", "/").body, "one");
    let pid = host(&selvedge, "account default");
    kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::STOP).unwrap();
    // A thread on another core stops a moment later.
    eventually("all of its threads stand still", || {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
        let mut states = threads.map(|thread| std::fs::read_to_string(thread.path().join("stat")).unwrap());
        states.all(|state| state.rsplit_once(") ").unwrap().1.starts_with('T')).then_some(())
    });
    // Long before its own limit of thirty seconds.
    let answer = selvedge.get("w", "/");
    assert_eq!((answer.status, answer.body.as_str()), (200, "one"), "{answer:?}");
    assert_ne!(host(&selvedge, "account default"), pid);
    eventually("the process is no more", || {
        // Of one that has ended and was not yet waited for, nothing is left but its entry.
        std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default().is_empty().then_some(())
    });
}
