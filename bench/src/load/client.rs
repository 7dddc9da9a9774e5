//! The loop that keeps connections busy.

use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rustix::event::{Timespec, epoll};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags};

use super::connection::{Connection, Progress};
use super::{Order, Outcome, Plan};

/// Marks the timer among the connections' indices.
const TIMER: u64 = u64::MAX;
/// Longest sleep: how late `stop` and the end are noticed.
const NAP: Duration = Duration::from_millis(20);

/// Connections to one server.
pub(crate) struct Client {
    address: SocketAddr,
    epoll: OwnedFd,
    /// Wakes up to send the next request of a plan with a rate; finer than epoll's milliseconds.
    timer: OwnedFd,
    /// `None`: to be opened again.
    connections: Vec<Option<Connection>>,
}

/// State of one run.
struct Run<'a> {
    plan: &'a Plan<'a>,
    outcome: Outcome,
    random: fastrand::Rng,
    /// Requests started.
    turn: usize,
    in_flight: usize,
    end: Instant,
    /// When the next request of a plan with a rate is due.
    due: Instant,
}

impl Client {
    /// Opens the connections.
    pub(crate) fn connect(address: SocketAddr, count: usize) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
        epoll::add(&epoll, &timer, epoll::EventData::new_u64(TIMER), epoll::EventFlags::IN)?;
        let mut client = Self { address, epoll, timer, connections: Vec::new() };
        client.connections.resize_with(count, || None);
        for index in 0..count {
            client.open(index)?;
        }
        Ok(client)
    }

    /// Carries out a plan. Fails when the server takes no connections any more, not for what it answers.
    pub(crate) fn run(&mut self, plan: &Plan<'_>) -> Result<Outcome> {
        let start = Instant::now();
        let mut run = Run {
            plan,
            outcome: Outcome::default(),
            random: fastrand::Rng::with_seed(1),
            turn: 0,
            in_flight: 0,
            end: start + plan.duration,
            due: start,
        };
        let last = run.end + plan.drain;
        let mut events = [MaybeUninit::<epoll::Event>::uninit(); 256];
        loop {
            let now = Instant::now();
            let stopped = plan.stop.is_some_and(|stop| stop.load(Ordering::Relaxed));
            let ended = stopped || now >= run.end || run.spent();
            if (ended && run.in_flight == 0) || stopped || now >= last {
                break;
            }
            if !ended {
                self.start_requests(&mut run)?;
            }
            let nap = Timespec { tv_sec: 0, tv_nsec: NAP.as_nanos() as _ };
            let (ready, _) = match epoll::wait(&self.epoll, &mut events, Some(&nap)) {
                Ok(ready) => ready,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => bail!("epoll: {error}"),
            };
            for event in ready {
                match event.data.u64() {
                    TIMER => drop(rustix::io::read(&self.timer, &mut [0; 8])),
                    index => self.progress(index as usize, &mut run),
                }
            }
        }
        // Answers that are still missing must not be taken for answers of the next run.
        for connection in &mut self.connections {
            if connection.as_ref().is_some_and(|connection| connection.since.is_some()) {
                *connection = None;
            }
        }
        if plan.stop.is_none() {
            run.outcome.lost += run.in_flight as u64;
        }
        run.outcome.elapsed = start.elapsed();
        Ok(run.outcome)
    }

    /// Gives requests to connections that have none: all of them, or as many as are due.
    fn start_requests(&mut self, run: &mut Run<'_>) -> Result<()> {
        for index in 0..self.connections.len() {
            if self.connections[index].as_ref().is_some_and(|connection| connection.since.is_some()) {
                continue;
            }
            if run.spent() {
                break;
            }
            let since = match run.plan.rate {
                None => Instant::now(),
                Some(rate) if run.due <= Instant::now() => {
                    let due = run.due;
                    run.due += Duration::from_secs_f64(1.0 / rate);
                    due
                }
                Some(_) => break,
            };
            self.open(index)?;
            self.send(index, since, run);
        }
        if run.plan.rate.is_some() {
            let until = run.due.saturating_duration_since(Instant::now()).max(Duration::from_micros(1));
            let value = Timespec { tv_sec: until.as_secs() as _, tv_nsec: until.subsec_nanos() as _ };
            let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
            rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        }
        Ok(())
    }

    /// Opens a connection unless it is open.
    fn open(&mut self, index: usize) -> Result<()> {
        if self.connections[index].is_none() {
            let connection = Connection::open(self.address)?;
            let data = epoll::EventData::new_u64(index as u64);
            epoll::add(&self.epoll, &connection.stream, data, epoll::EventFlags::IN)?;
            self.connections[index] = Some(connection);
        }
        Ok(())
    }

    fn send(&mut self, index: usize, since: Instant, run: &mut Run<'_>) {
        let request = run.next();
        let Some(connection) = &mut self.connections[index] else { return };
        if connection.send(request, since).is_ok() {
            run.in_flight += 1;
        } else {
            run.outcome.lost += 1;
            self.connections[index] = None;
        }
    }

    fn progress(&mut self, index: usize, run: &mut Run<'_>) {
        let Some(connection) = &mut self.connections[index] else { return };
        let response = match connection.receive() {
            Progress::Waiting => return,
            Progress::Answered(response) => response,
            Progress::Broken => {
                if connection.since.is_some() {
                    run.outcome.lost += 1;
                    run.in_flight -= 1;
                }
                self.connections[index] = None;
                return;
            }
        };
        let now = Instant::now();
        let Some(since) = connection.since.take() else { return };
        run.in_flight -= 1;
        let ok = (200..=299).contains(&response.status);
        if ok {
            run.outcome.ok += 1;
        } else {
            *run.outcome.refused.entry(response.status).or_default() += 1;
        }
        if ok || run.plan.any_status {
            run.outcome.latencies.add(now.saturating_duration_since(since));
        }
        if !response.keep {
            self.connections[index] = None;
        } else if run.plan.rate.is_none() && now < run.end && !run.spent() {
            self.send(index, now, run);
        }
    }
}

impl<'a> Run<'a> {
    /// No further request may start.
    fn spent(&self) -> bool {
        self.plan.limit.is_some_and(|limit| self.turn as u64 >= limit)
    }

    fn next(&mut self) -> &'a [u8] {
        let requests = self.plan.requests;
        let index = match self.plan.order {
            Order::Turns => self.turn % requests.len(),
            Order::Chance(sums) => {
                let drawn = self.random.f64();
                sums.partition_point(|sum| *sum <= drawn).min(requests.len() - 1)
            }
        };
        self.turn += 1;
        &requests[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::get;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// Answers every request of every connection with the next of `answers`; an empty one closes the connection.
    fn server(answers: &'static [&'static str]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut stream = stream;
                    let mut block = [0; 1024];
                    for answer in answers.iter().cycle() {
                        if !matches!(stream.read(&mut block), Ok(1..)) || answer.is_empty() {
                            return;
                        }
                        let _ = stream.write_all(answer.as_bytes());
                    }
                });
            }
        });
        address
    }

    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

    fn plan(requests: &[Vec<u8>]) -> Plan<'_> {
        Plan { drain: Duration::from_millis(200), ..Plan::closed(requests, 0.2) }
    }

    #[test]
    fn answers_are_counted_by_kind() {
        let address = server(&[OK, "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n", OK, ""]);
        let requests = [get("a", "/"), get("b", "/")];
        let outcome = Client::connect(address, 2).unwrap().run(&plan(&requests)).unwrap();
        assert!(outcome.ok > 0 && outcome.refused[&503] > 0 && outcome.lost > 0, "{outcome:?}");
    }

    #[test]
    fn a_rate_is_kept_and_a_client_used_again() {
        let requests = [get("a", "/")];
        let mut client = Client::connect(server(&[OK]), 4).unwrap();
        for _ in 0..2 {
            let plan = Plan { rate: Some(100.0), ..plan(&requests) };
            let outcome = client.run(&plan).unwrap();
            assert_eq!(outcome.errors(), 0);
            assert!((1..=20).contains(&outcome.ok), "{outcome:?}");
        }
    }

    #[test]
    fn silence_ends_and_counts_as_lost() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let requests = [get("a", "/")];
        let outcome =
            Client::connect(listener.local_addr().unwrap(), 3).unwrap().run(&plan(&requests)).unwrap();
        assert_eq!((outcome.ok, outcome.lost), (0, 3));
    }

    #[test]
    fn a_limit_is_not_exceeded() {
        let requests = [get("a", "/")];
        let plan = Plan { limit: Some(5), ..plan(&requests) };
        let outcome = Client::connect(server(&[OK]), 3).unwrap().run(&plan).unwrap();
        assert_eq!((outcome.ok, outcome.errors()), (5, 0));
    }

    #[test]
    fn chances_follow_their_weights() {
        let requests = [get("often", "/"), get("seldom", "/")];
        let plan = Plan { order: Order::Chance(&[0.9, 1.0]), ..plan(&requests) };
        let now = Instant::now();
        let mut run = Run {
            plan: &plan,
            outcome: Outcome::default(),
            random: fastrand::Rng::with_seed(1),
            turn: 0,
            in_flight: 0,
            end: now,
            due: now,
        };
        let often = (0..10_000).filter(|_| run.next() == requests[0]).count();
        assert!((8_800..9_200).contains(&often), "{often}");
    }
}
