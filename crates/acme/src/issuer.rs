//! One issuer: our account there, how many orders it gets at a time, and whether it is left alone.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use instant_acme::{Account, AccountCredentials, ExternalAccountKey, NewAccount};
use tokio::sync::{Mutex as AsyncMutex, Semaphore};

use crate::client::Client;
use crate::clock::Seconds;
use crate::config::IssuerConfig;
use crate::disk::{Disk, Pause};
use crate::fault::Fault;
use crate::names::Name;
use crate::schedule::{issuer_pause, retry_after};

/// Between looks at whether another process has made the account.
const ACCOUNT_POLL: Duration = Duration::from_millis(200);
/// Looks before that process is given up on.
const ACCOUNT_POLLS: u32 = 150;

pub(crate) struct Issuer {
    pub(crate) config: IssuerConfig,
    pub(crate) url: String,
    pub(crate) label: String,
    /// Name of its files.
    id: String,
    client: Client,
    account: AsyncMutex<Option<Account>>,
    /// For orders at a time.
    pub(crate) permits: Semaphore,
    pause: Mutex<Pause>,
}

impl Issuer {
    pub(crate) fn new(config: IssuerConfig, concurrency: usize, disk: &Disk) -> Result<Self, String> {
        let url = config.url().to_owned();
        let label = config.label();
        let hash = digest(&SHA256, url.as_bytes());
        let short: String = hash.as_ref()[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '-' };
        let id = format!("{}-{short}", label.chars().take(64).map(plain).collect::<String>());
        let client = Client::new(config.ca.as_deref())?;
        let pause = Mutex::new(disk.pause(&id));
        let permits = Semaphore::new(concurrency);
        Ok(Self { config, url, label, id, client, account: AsyncMutex::default(), permits, pause })
    }

    /// Our account, which is made when there is none.
    pub(crate) async fn account(
        &self,
        disk: &Disk,
        email: Option<&str>,
        name: &Name,
    ) -> Result<Account, Fault> {
        let mut held = self.account.lock().await;
        if let Some(account) = &*held {
            return Ok(account.clone());
        }
        let account = match disk.account::<AccountCredentials>(&self.id) {
            Some(credentials) => self.restore(credentials, name).await?,
            None => self.create(disk, email, name).await?,
        };
        *held = Some(account.clone());
        Ok(account)
    }

    async fn restore(&self, credentials: AccountCredentials, name: &Name) -> Result<Account, Fault> {
        Account::builder_with_http(Box::new(self.client.clone()))
            .from_credentials(credentials)
            .await
            .map_err(|error| Fault::of(error, name, None))
    }

    async fn create(&self, disk: &Disk, email: Option<&str>, name: &Name) -> Result<Account, Fault> {
        let unkept = |error: std::io::Error| Fault::here(format!("the account cannot be kept: {error}"));
        let mut polls = 0;
        let _lock = loop {
            if let Some(lock) = disk.lock(&format!("{}.account", self.id)).map_err(unkept)? {
                break lock;
            }
            polls += 1;
            if polls > ACCOUNT_POLLS {
                return Err(Fault::here("another process has been making the account for too long"));
            }
            tokio::time::sleep(ACCOUNT_POLL).await;
        };
        // Whoever had the lock has made one.
        if let Some(credentials) = disk.account::<AccountCredentials>(&self.id) {
            return self.restore(credentials, name).await;
        }
        let contact = email.map(|email| format!("mailto:{email}"));
        let contact: Vec<&str> = contact.as_deref().into_iter().collect();
        let wanted =
            NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let binding = match &self.config.eab {
            Some(eab) => {
                let key = eab.key().ok_or_else(|| Fault::here("eab: hmac is not base64url"))?;
                Some(ExternalAccountKey::new(eab.kid.clone(), &key))
            }
            None => None,
        };
        let (account, credentials) = Account::builder_with_http(Box::new(self.client.clone()))
            .create(&wanted, self.url.clone(), binding.as_ref())
            .await
            .map_err(|error| Fault::of(error, name, None))?;
        disk.keep_account(&self.id, &credentials).map_err(unkept)?;
        tracing::info!(issuer = self.label, account = account.id(), "made an account");
        Ok(account)
    }

    /// Forgets the account, which the issuer does not know any more.
    pub(crate) async fn forget_account(&self, disk: &Disk) {
        let mut held = self.account.lock().await;
        disk.forget_account(&self.id);
        *held = None;
    }

    /// Until when it is left alone.
    pub(crate) fn paused_until(&self) -> Seconds {
        self.pause.lock().unwrap_or_else(PoisonError::into_inner).until
    }

    /// It answers: nothing is held against it any more.
    pub(crate) fn is_well(&self, disk: &Disk) {
        self.change_pause(disk, |pause| *pause = Pause::default());
    }

    /// It does not: it is left alone for longer each time, or as long as it says.
    pub(crate) fn is_unwell(&self, disk: &Disk, now: Seconds, said: Option<Seconds>, luck: f64) {
        self.change_pause(disk, |pause| {
            // Orders that ran at the same time fail together, and count once.
            if pause.until > now {
                return;
            }
            pause.failures = pause.failures.saturating_add(1);
            pause.until = now + issuer_pause(pause.failures, luck).max(said.map_or(0, retry_after));
        });
    }

    fn change_pause(&self, disk: &Disk, change: impl FnOnce(&mut Pause)) {
        let (before, after) = {
            let mut pause = self.pause.lock().unwrap_or_else(PoisonError::into_inner);
            let before = pause.clone();
            change(&mut pause);
            (before, pause.clone())
        };
        if before != after
            && let Err(error) = disk.keep_pause(&self.id, &after)
        {
            tracing::warn!(%error, issuer = self.label, "its pause cannot be kept");
        }
    }
}
