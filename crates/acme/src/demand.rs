//! Certificates on demand: who may have one, how many, and how fast. Everything here is asked for by strangers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use crate::client::Client;
use crate::clock::{Clock, Seconds};
use crate::config::OnDemandConfig;
use crate::names::{Name, NameProblem, Pattern};

/// Answers of the address that is asked are remembered for so long, seconds.
const ANSWER_LIFE: Seconds = 60;
/// Answers that are remembered or awaited.
const ANSWERS_MAX: usize = 1024;

/// Why a handshake gets no certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The name is none that could have one.
    #[error("the name {0}")]
    Name(#[from] NameProblem),
    /// Certificates on demand are not switched on.
    #[error("no site has this name")]
    Off,
    /// The name is not on the list, and who is asked did not allow it.
    #[error("the name is not allowed")]
    NotAllowed,
    /// Who is asked about names did not answer.
    #[error("who is asked about names does not answer: {0}")]
    NoAnswer(String),
    /// Too many new names at once, or altogether.
    #[error("too many names are asked for")]
    TooMany,
    /// It was tried, and failed.
    #[error("no certificate could be had: {0}")]
    Failed(String),
    /// It is still being tried.
    #[error("the certificate is not there in time")]
    Late,
}

/// The gate.
pub(crate) struct Gate {
    pub(crate) config: OnDemandConfig,
    allow: Vec<Pattern>,
    ask: Option<(String, Client)>,
    clock: Clock,
    answers: Mutex<HashMap<Name, (Seconds, Answer)>>,
    minute: Mutex<(Seconds, u32)>,
}

/// What was answered, once it is known; whoever asks meanwhile waits for the same.
type Answer = Arc<OnceCell<Result<bool, String>>>;

impl Gate {
    pub(crate) fn new(config: OnDemandConfig, clock: Clock) -> Result<Self, String> {
        let allow = config.allow.iter().map(|text| Pattern::parse(text)).collect::<Result<_, _>>()?;
        let ask = match &config.ask {
            Some(address) => Some((address.clone(), Client::new(config.ask_ca.as_deref())?)),
            None => None,
        };
        Ok(Self { config, allow, ask, clock, answers: Mutex::default(), minute: Mutex::default() })
    }

    /// Whether a name may have a certificate.
    pub(crate) async fn permits(&self, name: &Name) -> Result<(), Refused> {
        if self.allow.iter().any(|pattern| pattern.is(name)) {
            return Ok(());
        }
        if name.is_internationalised() {
            return Err(NameProblem::Internationalised.into());
        }
        if self.allow.iter().any(|pattern| pattern.allows(name)) {
            return Ok(());
        }
        let Some((address, client)) = &self.ask else { return Err(Refused::NotAllowed) };
        let answer = self.answer(name)?;
        let allowed = answer
            .get_or_init(|| async {
                let mark = if address.contains('?') { '&' } else { '?' };
                // The name holds nothing that would have to be escaped.
                let uri = format!("{address}{mark}domain={name}").parse();
                let uri = uri.map_err(|error: http::uri::InvalidUri| error.to_string())?;
                Ok(client.status(uri).await? == 200)
            })
            .await;
        match allowed {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refused::NotAllowed),
            Err(error) => Err(Refused::NoAnswer(error.clone())),
        }
    }

    fn answer(&self, name: &Name) -> Result<Answer, Refused> {
        let now = self.clock.now();
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, answer)) = answers.get(name)
            && now < since + ANSWER_LIFE
        {
            return Ok(answer.clone());
        }
        if answers.len() >= ANSWERS_MAX {
            answers.retain(|_, (since, _)| now < *since + ANSWER_LIFE);
            if answers.len() >= ANSWERS_MAX {
                return Err(Refused::TooMany);
            }
        }
        let answer = Answer::default();
        answers.insert(name.clone(), (now, answer.clone()));
        Ok(answer)
    }

    /// Takes one of this minute's new names.
    pub(crate) fn take(&self) -> Result<(), Refused> {
        let now = self.clock.now() / 60;
        let mut minute = self.minute.lock().unwrap_or_else(PoisonError::into_inner);
        if minute.0 != now {
            *minute = (now, 0);
        }
        if minute.1 >= self.config.names_per_minute {
            return Err(Refused::TooMany);
        }
        minute.1 += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn gate(config: OnDemandConfig) -> (Gate, Clock) {
        let clock = Clock::manual(6000);
        (Gate::new(config, clock.clone()).unwrap(), clock)
    }

    #[tokio::test]
    async fn the_list_decides() {
        let allow = vec!["*.a.example".into(), "xn--bcher-kva.example".into()];
        let (gate, _) = gate(OnDemandConfig { allow, ..OnDemandConfig::default() });
        let permits = async |text: &str| gate.permits(&Name::asked(text).unwrap()).await;
        assert_eq!(permits("x.a.example").await, Ok(()));
        assert_eq!(permits("xn--bcher-kva.example").await, Ok(()));
        assert_eq!(permits("b.example").await, Err(Refused::NotAllowed));
        let foreign = Refused::Name(NameProblem::Internationalised);
        assert_eq!(permits("xn--x.a.example").await, Err(foreign));
    }

    #[tokio::test]
    async fn a_minute_has_so_many_names() {
        let (gate, clock) = gate(OnDemandConfig { names_per_minute: 2, ..OnDemandConfig::default() });
        assert_eq!([gate.take(), gate.take(), gate.take()], [Ok(()), Ok(()), Err(Refused::TooMany)]);
        clock.advance(Duration::from_secs(60));
        assert_eq!(gate.take(), Ok(()));
    }

    #[tokio::test]
    async fn who_is_asked_is_asked_once_a_name() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 1024];
                let length = stream.read(&mut request).await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let allowed = request[..length].starts_with(b"GET /may?domain=yes.example ");
                let status = if allowed { "200 OK" } else { "404 Not Found" };
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let ask = Some(format!("http://{address}/may"));
        let (gate, clock) = gate(OnDemandConfig { ask, ..OnDemandConfig::default() });
        let yes = Name::asked("yes.example").unwrap();
        let no = Name::asked("no.example").unwrap();
        let (first, second) = tokio::join!(gate.permits(&yes), gate.permits(&yes));
        assert_eq!((first, second), (Ok(()), Ok(())));
        assert_eq!(gate.permits(&no).await, Err(Refused::NotAllowed));
        assert_eq!(gate.permits(&no).await, Err(Refused::NotAllowed));
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        clock.advance(Duration::from_secs(ANSWER_LIFE));
        assert_eq!(gate.permits(&no).await, Err(Refused::NotAllowed));
        assert_eq!(asked.load(Ordering::SeqCst), 3);
        // Strangers cannot make us remember without end.
        for n in 0..ANSWERS_MAX {
            gate.answer(&Name::asked(&format!("n{n}.example")).unwrap()).ok();
        }
        let one_more = Name::asked("more.example").unwrap();
        assert_eq!(gate.permits(&one_more).await, Err(Refused::TooMany));
        assert!(gate.answers.lock().unwrap().len() <= ANSWERS_MAX);
    }
}
