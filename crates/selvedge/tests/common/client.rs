//! A client that asks the same again and again while something else happens.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Answer, Selvedge, connect, eventually, send};

/// Between two requests of one client.
const PAUSE: Duration = Duration::from_millis(2);

/// What [`Client`] and its thread share.
#[derive(Default)]
struct Seen {
    answered: AtomicU64,
    stop: AtomicBool,
    /// Answers other than 200, as text.
    failures: Mutex<Vec<String>>,
}

/// Asks one worker for `/` until stopped.
pub struct Client {
    seen: Arc<Seen>,
    thread: Option<JoinHandle<()>>,
}

impl Client {
    /// Begins to ask; every answer must be a 200.
    pub fn start(selvedge: &Selvedge, name: &str) -> Self {
        Self::tolerating(selvedge, name, |_| false)
    }

    /// Begins to ask; answers for which `fine` holds are as good as a 200.
    pub fn tolerating(selvedge: &Selvedge, name: &str, fine: fn(&Answer) -> bool) -> Self {
        let seen = Arc::new(Seen::default());
        let (theirs, http, host) = (seen.clone(), selvedge.http, format!("{name}.localhost"));
        let thread = std::thread::spawn(move || {
            while !theirs.stop.load(Ordering::Relaxed) {
                match ask(http, &host) {
                    Ok(answer) if answer.status == 200 || fine(&answer) => {}
                    Ok(answer) => theirs.failures.lock().unwrap().push(answer.head + &answer.body),
                    Err(error) => theirs.failures.lock().unwrap().push(error.to_string()),
                }
                theirs.answered.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(PAUSE);
            }
        });
        Self { seen, thread: Some(thread) }
    }

    /// Waits for `count` more answers.
    pub fn more(&self, count: u64) {
        let before = self.seen.answered.load(Ordering::Relaxed);
        eventually("the client is answered", || {
            (self.seen.answered.load(Ordering::Relaxed) >= before + count).then_some(())
        });
    }

    /// Ends it: every answer must have been as it should.
    pub fn finish(mut self) {
        self.more(3);
        self.seen.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        let failures = self.seen.failures.lock().unwrap();
        let answered = self.seen.answered.load(Ordering::Relaxed);
        assert!(failures.is_empty(), "{} of {answered} failed: {:?}", failures.len(), failures.first());
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.seen.stop.store(true, Ordering::Relaxed);
    }
}

fn ask(http: SocketAddr, host: &str) -> io::Result<Answer> {
    let mut stream = connect(http);
    send(&mut stream, "GET", host, "/", "");
    Answer::try_read(stream)
}
