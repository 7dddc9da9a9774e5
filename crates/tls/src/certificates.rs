//! Which certificate serves which name. Handshakes look here; files, ACME and the own authority put here what they have,
//! at any time.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::SignatureScheme;
use rustls::sign::CertifiedKey;
use selvedge_acme::Acme;

use crate::authority::Authority;
use crate::certificate::Certificate;
use crate::names::{NameMap, is_local};

/// Where a certificate comes from. Earlier ones go before later ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shelf {
    /// From files of the operator.
    Given = 0,
    /// Ordered by ACME.
    Acme = 1,
}

/// Several certificates of one name differ in the kind of their key.
type Kinds = Vec<Arc<Certificate>>;

/// All certificates, by name, shared by all threads.
#[derive(Debug, Default)]
pub struct Certificates {
    shelves: RwLock<Arc<Shelves>>,
    /// Answers to challenges of ACME (RFC 8737).
    challenges: RwLock<NameMap<Arc<Certificate>>>,
}

/// What is replaced as a whole.
#[derive(Clone, Debug, Default)]
struct Shelves {
    given: NameMap<Kinds>,
    acme: NameMap<Kinds>,
    /// Orders certificates, and has what came of it.
    orders: Option<Acme>,
    /// For clients that name no host.
    default: Option<Arc<Certificate>>,
    authority: Option<Arc<Authority>>,
    /// Names for which the authority issues, beside local ones.
    internal: NameMap<()>,
    /// Names that are not served.
    off: NameMap<()>,
}

impl Certificates {
    /// The certificate for a client that asks for `name` and can verify `schemes`.
    pub fn find(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let shelves = self.shelves();
        let Some(name) = name else {
            let default = shelves.default.as_ref().map(|certificate| certificate.key().clone());
            return default.or_else(|| shelves.authority.as_ref()?.certificate(None));
        };
        if shelves.off.under(name).is_some() {
            return None;
        }
        let internal = shelves.internal.under(name).is_some();
        // What a site is to have of the own authority it does not get of another, unless it was given.
        let searched = if internal { &[&shelves.given][..] } else { &[&shelves.given, &shelves.acme] };
        let found = searched.iter().find_map(|shelf| shelf.covering(name));
        if let Some(kinds) = found {
            return suitable(kinds, schemes);
        }
        if let Some(key) =
            shelves.orders.as_ref().filter(|_| !internal).and_then(|acme| acme.certificate(name))
        {
            return Some(key);
        }
        let authority = shelves.authority.as_ref().filter(|_| internal || is_local(name));
        authority
            .and_then(|authority| authority.certificate(Some(name)))
            .or_else(|| suitable(shelves.given.any()?, schemes))
    }

    /// Whether a client that asks for `name` is shown a certificate.
    pub fn covers(&self, name: &str) -> bool {
        let shelves = self.shelves();
        let internal = || shelves.internal.under(name).is_some() || is_local(name);
        shelves.off.under(name).is_none()
            && (shelves.given.covering(name).or(shelves.given.any()).is_some()
                || shelves.acme.covering(name).is_some()
                || shelves.orders.as_ref().is_some_and(|acme| acme.has(name))
                || shelves.authority.is_some() && internal())
    }

    /// Puts a certificate where the names that it is made out to find it. One of the same kind of key goes.
    pub fn put(&self, shelf: Shelf, certificate: Arc<Certificate>) {
        let names = certificate.names().to_vec();
        self.put_for(shelf, &names, certificate);
    }

    /// The same for some names only.
    pub fn put_for(&self, shelf: Shelf, names: &[String], certificate: Arc<Certificate>) {
        self.change(|shelves| {
            let shelf = match shelf {
                Shelf::Given => &mut shelves.given,
                Shelf::Acme => &mut shelves.acme,
            };
            for name in names {
                let kinds = shelf.entry(name);
                kinds.retain(|other| algorithm(other) != algorithm(&certificate));
                kinds.push(certificate.clone());
            }
        });
    }

    /// Removes what ACME gave for a name.
    pub fn remove(&self, name: &str) {
        self.change(|shelves| drop(shelves.acme.remove(name)));
    }

    /// The certificate that a name has of ACME.
    pub fn issued(&self, name: &str) -> Option<Arc<Certificate>> {
        self.shelves().acme.covering(name).and_then(|kinds| kinds.first()).cloned()
    }

    /// Answers handshakes that verify a challenge (TLS-ALPN-01) for a name.
    pub fn put_challenge(&self, name: &str, certificate: Arc<Certificate>) {
        self.challenges.write().unwrap_or_else(PoisonError::into_inner).insert(name, certificate);
    }

    /// The challenge is over.
    pub fn remove_challenge(&self, name: &str) {
        self.challenges.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// The answer to a challenge for a name.
    pub fn challenge(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let challenges = self.challenges.read().unwrap_or_else(PoisonError::into_inner);
        let found = challenges.covering(name).map(|certificate| certificate.key().clone());
        drop(challenges);
        found.or_else(|| self.orders()?.alpn(name))
    }

    /// Looks also at what ACME has, from now on.
    pub(crate) fn attach(&self, acme: Option<Acme>) {
        self.change(|shelves| shelves.orders = acme);
    }

    /// ACME, where it is in use.
    pub(crate) fn orders(&self) -> Option<Acme> {
        self.shelves().orders.clone()
    }

    /// Whether a certificate may be ordered for a name that has none.
    pub(crate) fn may_order(&self, name: &str) -> Option<Acme> {
        let shelves = self.shelves();
        let off = shelves.off.under(name).is_some() || shelves.internal.under(name).is_some();
        shelves.orders.clone().filter(|acme| !off && acme.is_on_demand())
    }

    /// Replaces everything that files gave.
    pub(crate) fn replace_given(
        &self,
        given: impl Iterator<Item = (Vec<String>, Arc<Certificate>)>,
        default: Option<Arc<Certificate>>,
    ) {
        let mut map = NameMap::<Kinds>::default();
        for (names, certificate) in given {
            for name in names {
                let kinds = map.entry(&name);
                // The first one that is named wins.
                if !kinds.iter().any(|other| algorithm(other) == algorithm(&certificate)) {
                    kinds.push(certificate.clone());
                }
            }
        }
        self.change(|shelves| {
            shelves.given = map;
            shelves.default = default;
        });
    }

    /// Says what the own authority serves, and what nobody does.
    pub(crate) fn serve(&self, authority: Option<Arc<Authority>>, internal: NameMap<()>, off: NameMap<()>) {
        self.change(|shelves| {
            shelves.authority = authority;
            shelves.internal = internal;
            shelves.off = off;
        });
    }

    fn shelves(&self) -> Arc<Shelves> {
        self.shelves.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Handshakes under way go on with what they have.
    fn change(&self, change: impl FnOnce(&mut Shelves)) {
        let mut current = self.shelves.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = Shelves::clone(&current);
        change(&mut next);
        *current = Arc::new(next);
    }
}

fn algorithm(certificate: &Certificate) -> rustls::SignatureAlgorithm {
    certificate.key().key.algorithm()
}

/// The first that the client can verify; the handshake says what is wrong where there is none.
fn suitable(kinds: &Kinds, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
    let fits = |certificate: &&Arc<Certificate>| certificate.key().key.choose_scheme(schemes).is_some();
    kinds.iter().find(fits).or(kinds.first()).map(|certificate| certificate.key().clone())
}
