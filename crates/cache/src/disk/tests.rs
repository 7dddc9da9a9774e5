use std::path::Path;

use http::{HeaderName, HeaderValue, StatusCode};

use super::*;
use crate::policy::{Freshness, Policy};
use crate::settings::CacheConfig;
use crate::variant::Variant;

const WHOLE: u64 = 1 << 20;

fn open(path: &Path, bytes: u64) -> Arc<Disk> {
    let config = DiskConfig { path: path.to_owned(), bytes, object_bytes: bytes / 8 };
    let disk = Disk::open(&config).unwrap();
    settle(&disk);
    disk
}

/// Waits until all is done that was to be done before.
fn settle(disk: &Disk) {
    disk.purge(&Purge::Tag("nobody has this".into()), true, false);
}

fn object(address: &str, tags: &'static str, kind: &'static str, body: &[u8]) -> Arc<Object> {
    let mut headers = HeaderMap::new();
    headers.insert("cache-tag", HeaderValue::from_static(tags));
    headers.insert("vary", HeaderValue::from_static("kind"));
    let policy = Policy::new(&CacheConfig::default()).unwrap();
    let variant = Variant::of(1, &kind_of(kind), &headers, &policy).unwrap();
    let body = Stock::new(vec![body.to_vec().into()]);
    Arc::new(Object::new(address.into(), StatusCode::OK, headers, body, Freshness::default(), variant))
}

fn kind_of(kind: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static("kind"), HeaderValue::from_static(kind))])
}

fn body_of(disk: &Disk, address: &str, kind: &'static str) -> Option<Vec<u8>> {
    match disk.find(address, 1, &kind_of(kind), WHOLE) {
        Found::Object(object) => Some(object.body.parts().concat()),
        _ => None,
    }
}

/// All files with bodies.
fn files(path: &Path) -> Vec<std::path::PathBuf> {
    let folders = std::fs::read_dir(path.join("bodies")).unwrap().flatten();
    folders
        .flat_map(|folder| std::fs::read_dir(folder.path()).unwrap().flatten())
        .map(|file| file.path())
        .collect()
}

#[test]
fn what_was_kept_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let long: Vec<u8> = (0..700_000_u32).map(|n| n as u8).collect();
    {
        let disk = open(dir.path(), 64 << 20);
        disk.keep(&object("http://a/1", "x", "a", b"one"), false);
        disk.keep(&object("http://a/1", "x", "b", b"two"), false);
        disk.keep(&object("http://a/2", "y", "a", &long), false);
        disk.keep(&object("http://a/3", "y", "a", b""), false);
    }
    let disk = open(dir.path(), 64 << 20);
    assert_eq!(body_of(&disk, "http://a/1", "a").unwrap(), b"one");
    assert_eq!(body_of(&disk, "http://a/1", "b").unwrap(), b"two");
    assert_eq!(body_of(&disk, "http://a/2", "a").unwrap(), long);
    assert_eq!(body_of(&disk, "http://a/3", "a").unwrap(), b"");
    assert!(matches!(disk.find("http://a/1", 1, &kind_of("c"), WHOLE), Found::Others));
    assert!(matches!(disk.find("http://a/1", 2, &kind_of("a"), WHOLE), Found::Nothing));
    // Too large for memory: it stays in its file, of which any part can be had.
    let Found::Object(found) = disk.find("http://a/2", 1, &kind_of("a"), 1000) else { panic!() };
    let file = found.body.file().unwrap();
    let part = file.read(&(300_000..300_010)).unwrap();
    assert_eq!(part, long[300_000..300_010]);
    assert_eq!(file.read(&(600_000..700_000)).unwrap(), long[600_000..700_000]);
    assert_eq!(file.read_all().unwrap().concat(), long);
}

#[test]
fn the_last_one_stays_and_its_body_is_not_written_twice() {
    let dir = tempfile::tempdir().unwrap();
    let disk = open(dir.path(), 64 << 20);
    disk.keep(&object("http://a/", "x", "a", b"old"), false);
    disk.keep(&object("http://a/", "x", "a", b"new"), false);
    settle(&disk);
    assert_eq!(body_of(&disk, "http://a/", "a").unwrap(), b"new");
    let before = files(dir.path());
    assert_eq!(before.len(), 1);
    disk.keep(&object("http://a/", "z", "a", b"new"), true);
    settle(&disk);
    assert_eq!(files(dir.path()), before);
    assert_eq!(disk.purge(&Purge::Tag("z".into()), false, true), Some(1));
    // Whoever purges is told before the files are gone.
    settle(&disk);
    assert_eq!(files(dir.path()).len(), 0);
    assert_eq!((disk.counts().objects, disk.counts().bytes), (0, 0));
}

#[test]
fn purges_hold_over_a_restart() {
    let all = ["http://a/1", "http://a/1/2", "http://b/", "http://a/\u{10ffff}"];
    for (purge, count, stays) in [
        (Purge::Address("http://a/1".into()), 1, [false, true, true, true]),
        (Purge::Prefix("http://a/".into()), 3, [false, false, true, false]),
        (Purge::Tag("y".into()), 2, [true, false, false, true]),
        (Purge::Tag("%' OR 1".into()), 0, [true; 4]),
        (Purge::All, 4, [false; 4]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let disk = open(dir.path(), 64 << 20);
        for (address, tags) in all.into_iter().zip(["x", "x, y", "y", "z"]) {
            disk.keep(&object(address, tags, "a", b"body"), false);
        }
        assert_eq!(disk.purge(&purge, true, true), Some(count));
        drop(disk);
        let disk = open(dir.path(), 64 << 20);
        let expired = all.map(|address| match disk.find(address, 1, &kind_of("a"), WHOLE) {
            Found::Object(object) => object.is_expired(),
            _ => panic!("softly purged responses stay"),
        });
        assert_eq!(expired, stays.map(|stays| !stays), "{purge:?}");
        assert_eq!(disk.purge(&purge, false, true), Some(count));
        drop(disk);
        let disk = open(dir.path(), 64 << 20);
        assert_eq!(all.map(|address| body_of(&disk, address, "a").is_some()), stays, "{purge:?}");
    }
}

#[test]
fn room_is_made_of_what_was_not_asked_for_the_longest() {
    let dir = tempfile::tempdir().unwrap();
    let disk = open(dir.path(), 4 << 20);
    let body = vec![7; 20_000];
    for n in 0..400 {
        disk.keep(&object(&format!("http://a/{n}"), "x", "a", &body), false);
        settle(&disk);
        if n % 20 == 0 {
            // Time has to pass for one to be used after the others.
            std::thread::sleep(std::time::Duration::from_millis(2));
            assert!(body_of(&disk, "http://a/0", "a").is_some(), "{n}");
        }
        assert!(disk.counts().bytes <= 4 << 20);
    }
    assert!(body_of(&disk, "http://a/0", "a").is_some() && body_of(&disk, "http://a/399", "a").is_some());
    assert!(body_of(&disk, "http://a/1", "a").is_none());
    let counts = disk.counts();
    assert!(counts.evicted > 100);
    assert_eq!(files(dir.path()).len() as u64, counts.objects);
}

#[test]
fn what_is_damaged_is_never_given() {
    let body = vec![3; 600_000];
    for damage in 0..4 {
        let dir = tempfile::tempdir().unwrap();
        let disk = open(dir.path(), 64 << 20);
        disk.keep(&object("http://a/", "x", "a", &body), false);
        settle(&disk);
        let file = files(dir.path()).remove(0);
        let mut bytes = std::fs::read(&file).unwrap();
        let held = disk.find("http://a/", 1, &kind_of("a"), 1000);
        match damage {
            0 => bytes[450_000] ^= 1,
            1 => bytes.truncate(599_999),
            2 => bytes.push(0),
            _ => {}
        }
        match damage {
            3 => std::fs::remove_file(&file).unwrap(),
            _ => std::fs::write(&file, &bytes).unwrap(),
        }
        assert_eq!(body_of(&disk, "http://a/", "a"), None, "{damage}");
        settle(&disk);
        assert_eq!(disk.counts().damaged, 1, "{damage}");
        assert!(files(dir.path()).is_empty());
        // Who was reading gets what is right, or an error.
        let Found::Object(held) = held else { panic!() };
        let held = held.body.file().unwrap();
        assert_eq!(held.read(&(0..10)).unwrap(), body[..10]);
        assert_eq!(held.read(&(450_000..450_010)).is_err(), damage == 0);
        assert_eq!(held.read(&(599_990..600_000)).is_err(), damage == 1);
    }
}

#[test]
fn a_damaged_table_is_thrown_away() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path(), 64 << 20));
    std::fs::write(dir.path().join("index.sqlite"), vec![7; 100_000]).unwrap();
    let disk = open(dir.path(), 64 << 20);
    disk.keep(&object("http://a/", "x", "a", b"body"), false);
    settle(&disk);
    assert_eq!(body_of(&disk, "http://a/", "a").unwrap(), b"body");
    drop(disk);
    // Pages of it, under a running cache: nothing wrong is given, and it goes on.
    let disk = open(dir.path(), 64 << 20);
    for n in 0..300 {
        disk.keep(&object(&format!("http://a/{n}"), "x, y", "a", &[n as u8; 2000]), false);
    }
    settle(&disk);
    drop(disk);
    let path = dir.path().join("index.sqlite");
    let whole = std::fs::read(&path).unwrap();
    for seed in 0..20_usize {
        let mut bytes = whole.clone();
        (0..200).for_each(|n| {
            let at = 100 + (seed * 7919 + n * 104_729) % (bytes.len() - 100);
            bytes[at] ^= 0x55;
        });
        std::fs::write(&path, &bytes).unwrap();
        let disk = open(dir.path(), 64 << 20);
        for n in 0..300 {
            if let Some(body) = body_of(&disk, &format!("http://a/{n}"), "a") {
                assert_eq!(body, [n as u8; 2000]);
            }
        }
        disk.keep(&object("http://a/new", "x", "a", b"new"), false);
        disk.purge(&Purge::Tag("x".into()), false, false);
        for n in 0..3 {
            disk.keep(&object(&format!("http://b/{n}"), "x", "a", b"later"), false);
        }
        settle(&disk);
    }
}

/// As while a process takes over from another one.
#[test]
fn two_may_use_it_at_the_same_time() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (open(dir.path(), 64 << 20), open(dir.path(), 64 << 20));
    std::thread::scope(|scope| {
        for disk in [&one, &two] {
            scope.spawn(move || {
                for n in 0..300 {
                    disk.keep(&object(&format!("http://a/{n}"), "x", "a", &[n as u8; 1000]), n % 2 == 0);
                    settle(disk);
                }
            });
        }
    });
    for n in 0..300 {
        for disk in [&one, &two] {
            assert_eq!(body_of(disk, &format!("http://a/{n}"), "a").unwrap(), [n as u8; 1000], "{n}");
        }
    }
    assert_eq!(files(dir.path()).len(), 300);
    assert_eq!(two.purge(&Purge::Tag("x".into()), false, true), Some(300));
    assert!((0..300).all(|n| body_of(&one, &format!("http://a/{n}"), "a").is_none()));
    for disk in [&one, &two] {
        settle(disk);
        assert_eq!((disk.counts().errors, disk.counts().damaged), (0, 0));
    }
    assert!(files(dir.path()).is_empty());
}

#[test]
fn what_a_crash_left_is_taken_away() {
    let dir = tempfile::tempdir().unwrap();
    {
        let disk = open(dir.path(), 64 << 20);
        disk.keep(&object("http://a/", "x", "a", b"body"), false);
    }
    let kept = files(dir.path());
    let age = |path: &Path| {
        let file = std::fs::File::options().append(true).open(path).unwrap();
        file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(3600)).unwrap();
    };
    let left = [dir.path().join("temporary/0000000000000007"), dir.path().join("bodies/07/0000000000000007")];
    for path in &left {
        std::fs::write(path, b"half").unwrap();
        age(path);
    }
    age(&kept[0]);
    let young = dir.path().join("bodies/08/0000000000000008");
    std::fs::write(&young, b"just written").unwrap();
    let disk = open(dir.path(), 64 << 20);
    while left.iter().any(|path| path.exists()) {
        std::thread::yield_now();
    }
    assert!(kept[0].exists() && young.exists());
    assert_eq!(body_of(&disk, "http://a/", "a").unwrap(), b"body");
}

#[test]
fn a_disk_that_refuses_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let disk = open(dir.path(), 64 << 20);
    disk.keep(&object("http://a/1", "x", "a", b"body"), false);
    settle(&disk);
    std::fs::remove_dir(dir.path().join("temporary")).unwrap();
    std::fs::write(dir.path().join("temporary"), b"in the way").unwrap();
    for n in 2..100 {
        disk.keep(&object(&format!("http://a/{n}"), "x", "a", b"body"), false);
    }
    settle(&disk);
    let counts = disk.counts();
    assert_eq!((counts.errors, counts.skipped, counts.objects), (1, 97, 1));
    assert_eq!(body_of(&disk, "http://a/1", "a").unwrap(), b"body");
    // Purges are done all the same.
    assert_eq!(disk.purge(&Purge::All, false, true), Some(1));
}

#[tokio::test]
async fn bodies_are_written_while_they_arrive() {
    let dir = tempfile::tempdir().unwrap();
    let disk = open(dir.path(), 64 << 20);
    let address: Arc<str> = "http://a/".into();
    let as_object = |body| {
        let object = object("http://a/", "x", "a", b"");
        let (headers, variant) = (object.headers.clone(), object.variant.clone());
        Object::new("http://a/".into(), StatusCode::OK, headers, body, Freshness::default(), variant)
    };
    let spool = disk.spool(&address, 1).unwrap();
    assert!(disk.spool(&address, 1).is_none(), "the same is being written");
    for n in 0..1000_u32 {
        assert!(spool.push(vec![n as u8; 1000].into()));
    }
    let kept = spool.finish(as_object).await.unwrap();
    settle(&disk);
    let Found::Object(found) = disk.find("http://a/", 1, &kind_of("a"), 1000) else { panic!() };
    let bytes = found.body.file().unwrap().read_all().unwrap().concat();
    assert_eq!((bytes.len(), bytes[500_500]), (1_000_000, 500_u32 as u8));
    assert_eq!(kept.body.file().unwrap().read(&(5000..5001)).unwrap()[0], 5);
    // What is given up leaves nothing, nor does what is larger than may be.
    drop(disk.spool(&address, 1).unwrap());
    let spool = disk.spool(&address, 2).unwrap();
    for _ in 0..9 {
        spool.push(vec![1; 1 << 20].into());
    }
    assert!(spool.finish(as_object).await.is_none());
    while std::fs::read_dir(dir.path().join("temporary")).unwrap().next().is_some() {
        tokio::task::yield_now().await;
    }
    assert_eq!(files(dir.path()).len(), 1);
}
