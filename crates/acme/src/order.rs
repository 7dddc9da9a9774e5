//! One order with one issuer: from the wish to the certificate (RFC 8555 section 7.4).

use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeType, Identifier, NewOrder, Order,
    OrderStatus, RetryPolicy,
};

use crate::challenges::{Answering, Challenges};
use crate::config::{AcmeConfig, ChallengeKind};
use crate::disk::Disk;
use crate::fault::{Fault, is_about_replacing};
use crate::hook::{self, Change};
use crate::issuer::Issuer;
use crate::keys::{self, Certificate};
use crate::names::Name;

/// Between looks at an order, growing.
const POLL_FIRST: Duration = Duration::from_millis(250);
const POLL_GROWTH: f32 = 1.5;

/// What an order needs beside the issuer.
pub(crate) struct Desk<'a> {
    pub(crate) config: &'a AcmeConfig,
    pub(crate) disk: &'a Disk,
    pub(crate) challenges: &'a Challenges,
}

/// What is ordered.
pub(crate) struct Wish<'a> {
    pub(crate) name: &'a Name,
    /// Ways to prove control, best first.
    pub(crate) kinds: &'a [ChallengeKind],
    /// The certificate that is renewed, if this issuer made it.
    pub(crate) replaces: Option<CertificateIdentifier<'static>>,
}

/// A proof that the issuer may come to see.
enum Proof {
    Answer {
        /// Given while it is held.
        _answering: Answering,
    },
    Record(String),
}

/// Orders, proves, and returns key and chain as PEM.
pub(crate) async fn order(
    desk: &Desk<'_>,
    issuer: &Issuer,
    wish: &Wish<'_>,
) -> Result<(String, Certificate), Fault> {
    let mut proofs = Vec::new();
    let limit = Duration::from_millis(desk.config.order_timeout_ms);
    let result = tokio::time::timeout(limit, run(desk, issuer, wish, &mut proofs)).await;
    for proof in proofs {
        if let Proof::Record(value) = proof
            && let Err(error) = call_hook(desk.config, Change::Clear, wish.name, &value).await
        {
            tracing::warn!(name = %wish.name, "a TXT record of a challenge stays behind: {error}");
        }
    }
    result.unwrap_or_else(|_| Err(Fault::late()))
}

async fn run(
    desk: &Desk<'_>,
    issuer: &Issuer,
    wish: &Wish<'_>,
    proofs: &mut Vec<Proof>,
) -> Result<(String, Certificate), Fault> {
    let name = wish.name;
    let account = issuer.account(desk.disk, desk.config.email.as_deref(), name).await?;
    let mut order = begin(&account, issuer, wish).await?;
    let kind = prove(desk, &mut order, wish, proofs).await?;

    let limit = Duration::from_millis(desk.config.order_timeout_ms);
    let policy = RetryPolicy::new().initial_delay(POLL_FIRST).backoff(POLL_GROWTH).timeout(limit);
    match order.poll_ready(&policy).await {
        Ok(OrderStatus::Ready) => {}
        Ok(_) => return Err(reason(&mut order, name, kind).await),
        Err(error @ instant_acme::Error::Api(_)) => {
            let fault = Fault::of(error, name, kind);
            return Err(why(&mut order, name, kind).await.unwrap_or(fault));
        }
        Err(error) => return Err(Fault::of(error, name, kind)),
    }

    let made = keys::request(name, desk.config.key);
    let (key, request) = made.map_err(|error| Fault::here(format!("no key could be made: {error}")))?;
    order.finalize_csr(&request).await.map_err(|error| Fault::of(error, name, None))?;
    let chain = order.poll_certificate(&policy).await.map_err(|error| Fault::of(error, name, None))?;
    let pem = format!("{}\n{}", key.trim_end(), chain);
    let certificate = Certificate::read(name, pem.as_bytes())
        .map_err(|problem| Fault::name(format!("the issuer's certificate is unusable: {problem}")))?;
    Ok((pem, certificate))
}

/// Begins an order, as a renewal where that is possible (RFC 9773 section 5).
async fn begin(account: &Account, issuer: &Issuer, wish: &Wish<'_>) -> Result<Order, Fault> {
    let identifiers = [Identifier::Dns(wish.name.as_str().to_owned())];
    let mut plain = NewOrder::new(&identifiers);
    if let Some(profile) = &issuer.config.profile {
        plain = plain.profile(profile);
    }
    if let Some(replaces) = &wish.replaces {
        let mut renewal = NewOrder::new(&identifiers).replaces(replaces.clone());
        if let Some(profile) = &issuer.config.profile {
            renewal = renewal.profile(profile);
        }
        match account.new_order(&renewal).await {
            Err(error) if is_about_replacing(&error) => {
                tracing::debug!(name = %wish.name, %error, "the issuer takes no renewal for what it is");
            }
            result => return result.map_err(|error| Fault::of(error, wish.name, None)),
        }
    }
    account.new_order(&plain).await.map_err(|error| Fault::of(error, wish.name, None))
}

/// Puts a proof in place for each authorization that wants one, and tells the issuer to look. Returns which kind.
async fn prove(
    desk: &Desk<'_>,
    order: &mut Order,
    wish: &Wish<'_>,
    proofs: &mut Vec<Proof>,
) -> Result<Option<ChallengeKind>, Fault> {
    let mut used = None;
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.map_err(|error| Fault::of(error, wish.name, None))?;
        match authorization.status {
            AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Pending => {}
            status => {
                return Err(Fault::name(format!("the issuer's authorization is {status:?} from the start")));
            }
        }
        let offered = |kind: &&ChallengeKind| {
            authorization.challenges.iter().any(|challenge| challenge.r#type == type_of(**kind))
        };
        let Some(kind) = wish.kinds.iter().find(offered).copied() else {
            let kinds: Vec<_> = wish.kinds.iter().map(ToString::to_string).collect();
            let kinds = kinds.join(", ");
            return Err(Fault::name(format!(
                "the issuer offers none of the challenges we can meet ({kinds})"
            )));
        };
        used = Some(kind);
        let Some(mut challenge) = authorization.challenge(type_of(kind)) else { continue };
        let answer = challenge.key_authorization();
        match kind {
            ChallengeKind::Http01 => {
                let answering = desk.challenges.answer_token(&challenge.token, answer.as_str());
                proofs.push(Proof::Answer { _answering: answering.map_err(Fault::name)? });
            }
            ChallengeKind::TlsAlpn01 => {
                let key = keys::alpn_answer(wish.name, answer.digest().as_ref()).map_err(Fault::here)?;
                proofs.push(Proof::Answer { _answering: desk.challenges.answer_name(wish.name, key) });
            }
            ChallengeKind::Dns01 => {
                // Noted before it is set, so that it is cleared also when the hook did half of its work.
                proofs.push(Proof::Record(answer.dns_value()));
                call_hook(desk.config, Change::Set, wish.name, &answer.dns_value()).await?;
                tokio::time::sleep(Duration::from_millis(desk.config.dns_wait_ms)).await;
            }
        }
        challenge.set_ready().await.map_err(|error| Fault::of(error, wish.name, Some(kind)))?;
    }
    Ok(used)
}

async fn call_hook(config: &AcmeConfig, change: Change, name: &Name, value: &str) -> Result<(), Fault> {
    let limit = Duration::from_millis(config.dns_hook_timeout_ms);
    hook::call(&config.dns_hook, change, name, value, limit).await.map_err(Fault::here)
}

/// Why an order came to nothing.
async fn reason(order: &mut Order, name: &Name, kind: Option<ChallengeKind>) -> Fault {
    why(order, name, kind)
        .await
        .unwrap_or_else(|| Fault::name("the issuer gave the order up without a reason"))
}

/// What the challenges of a failed order say, which is more than the order itself does.
async fn why(order: &mut Order, name: &Name, kind: Option<ChallengeKind>) -> Option<Fault> {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let Ok(state) = authorization.refresh().await else { continue };
        if let Some(problem) = state.challenges.iter().find_map(|challenge| challenge.error.clone()) {
            return Some(Fault::of(instant_acme::Error::Api(problem), name, kind));
        }
    }
    None
}

fn type_of(kind: ChallengeKind) -> ChallengeType {
    match kind {
        ChallengeKind::Http01 => ChallengeType::Http01,
        ChallengeKind::TlsAlpn01 => ChallengeType::TlsAlpn01,
        ChallengeKind::Dns01 => ChallengeType::Dns01,
    }
}
