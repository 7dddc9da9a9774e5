//! Proofs that a certificate is not revoked (OCSP, RFC 6960): asked of its authority, checked as a client would, and
//! handed to clients in the handshake.

use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use x509_parser::asn1_rs::{Any, BitString, Class, FromDer, GeneralizedTime, Tag};
use x509_parser::prelude::{X509Certificate, X509Name};
use x509_parser::x509::AlgorithmIdentifier;

use crate::certificate::{Certificate, parsed};

/// Clocks of responders may be ahead by this.
const SKEW: Duration = Duration::from_secs(300);
/// Responses that do not say until when they hold are asked for again after this.
const USUAL: Duration = Duration::from_secs(24 * 3600);
/// `id-sha1`, contents of the identifier and the absent parameters.
const SHA1: &[u8] = &[0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00];
/// `id-pkix-ocsp-basic`
const BASIC: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];

/// Why a response is not handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OcspError {
    /// Not the bytes of a response.
    #[error("it is no OCSP response")]
    Malformed,
    /// The responder answered with an error.
    #[error("the responder has no answer (status {0})")]
    Refused(u8),
    /// It tells of other certificates.
    #[error("it is about another certificate")]
    Other,
    /// Bad news.
    #[error("the certificate is revoked; replace it")]
    Revoked,
    /// No news.
    #[error("the responder does not know the certificate")]
    Unknown,
    /// Too old, or from the future.
    #[error("it does not hold now")]
    Stale,
    /// Nobody whom clients would believe signed it.
    #[error("its signature is not that of the certificate's authority")]
    Signature,
    /// The issuer is needed to tell.
    #[error("the file of the certificate does not hold its issuer; append it")]
    NoIssuer,
}

/// A question about a certificate whose issuer is the next in its chain.
///
/// # Errors
/// The issuer is not there.
pub fn request(certificate: &Certificate) -> Result<Vec<u8>, OcspError> {
    let id = Id::of(certificate)?;
    let id = sequence(&[&sequence(&[SHA1]), &octets(&id.name), &octets(&id.key), &tagged(0x02, &id.serial)]);
    Ok(sequence(&[&sequence(&[&sequence(&[&sequence(&[&id])])])]))
}

/// Checks that a response says that the certificate is good, is signed by those who may say so, and holds now. Returns when
/// to ask again: after half of the time that it holds.
///
/// # Errors
/// Clients would not accept it.
pub fn check(response: &[u8], certificate: &Certificate) -> Result<SystemTime, OcspError> {
    let id = Id::of(certificate)?;
    let chain = &certificate.key().cert;
    let issuer = chain.get(1).ok_or(OcspError::NoIssuer)?;
    let issuer = parsed(issuer).map_err(|_| OcspError::NoIssuer)?;
    let basic = Basic::of(response)?;
    basic.verify(&issuer)?;
    let single = basic.about(&id)?;
    match single.status.0 {
        0 => {}
        1 => return Err(OcspError::Revoked),
        _ => return Err(OcspError::Unknown),
    }
    let now = SystemTime::now();
    let until = single.next_update.unwrap_or(single.this_update + USUAL * 2);
    if single.this_update > now + SKEW || until <= now {
        return Err(OcspError::Stale);
    }
    Ok(single.this_update + until.duration_since(single.this_update).unwrap_or_default() / 2)
}

/// What names a certificate in OCSP: hashes of its issuer's name and key, and its number.
struct Id {
    name: Vec<u8>,
    key: Vec<u8>,
    serial: Vec<u8>,
}

impl Id {
    fn of(certificate: &Certificate) -> Result<Self, OcspError> {
        let [leaf, issuer, ..] = &certificate.key().cert[..] else { return Err(OcspError::NoIssuer) };
        let leaf = parsed(leaf).map_err(|_| OcspError::Malformed)?;
        let issuer = parsed(issuer).map_err(|_| OcspError::NoIssuer)?;
        let sha1 = |bytes: &[u8]| digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref().to_vec();
        Ok(Self {
            name: sha1(issuer.subject().as_raw()),
            key: sha1(&issuer.public_key().subject_public_key.data),
            serial: leaf.raw_serial().to_vec(),
        })
    }
}

/// The one kind of response that there is.
struct Basic<'r> {
    /// What is signed.
    data: &'r [u8],
    singles: &'r [u8],
    algorithm: AlgorithmIdentifier<'r>,
    signature: BitString<'r>,
    /// Of a responder to whom the authority delegated.
    signer: Option<X509Certificate<'r>>,
}

/// One answer.
struct Single {
    status: Tag,
    this_update: SystemTime,
    next_update: Option<SystemTime>,
}

impl<'r> Basic<'r> {
    fn of(response: &'r [u8]) -> Result<Self, OcspError> {
        let (_, response) = next(response, Tag::Sequence)?;
        let (rest, status) = next(response, Tag::Enumerated)?;
        if status != [0] {
            return Err(OcspError::Refused(status.first().copied().unwrap_or_default()));
        }
        let (_, bytes) = any(rest)?;
        let (_, bytes) = next(bytes.data, Tag::Sequence)?;
        let (rest, kind) = next(bytes, Tag::Oid)?;
        if kind != BASIC {
            return Err(OcspError::Malformed);
        }
        let (_, basic) = next(rest, Tag::OctetString)?;
        let (_, basic) = next(basic, Tag::Sequence)?;
        let (rest, inside) = next(basic, Tag::Sequence)?;
        let data = &basic[..basic.len() - rest.len()];
        let (rest, algorithm) = AlgorithmIdentifier::from_der(rest).map_err(|_| OcspError::Malformed)?;
        let (rest, signature) = BitString::from_der(rest).map_err(|_| OcspError::Malformed)?;
        let signer = match rest.is_empty() {
            true => None,
            false => {
                let (_, certificates) = next(any(rest)?.1.data, Tag::Sequence)?;
                let parsed =
                    <X509Certificate<'_> as x509_parser::prelude::FromDer<_>>::from_der(certificates);
                parsed.ok().map(|(_, certificate)| certificate)
            }
        };
        // Version and responder go before, the time of the answer and the answers follow.
        let mut rest = inside;
        loop {
            let (after, part) = any(rest)?;
            rest = after;
            if part.header.tag() == Tag::GeneralizedTime && part.header.class() == Class::Universal {
                break;
            }
        }
        let (_, singles) = next(rest, Tag::Sequence)?;
        Ok(Self { data, singles, algorithm, signature, signer })
    }

    /// Signed by the issuer, or by somebody whom the issuer lets answer (RFC 6960, section 4.2.2.2).
    fn verify(&self, issuer: &X509Certificate<'_>) -> Result<(), OcspError> {
        use x509_parser::verify::verify_signature;
        let signed = |by: &X509Certificate<'_>| {
            verify_signature(by.public_key(), &self.algorithm, &self.signature, self.data).is_ok()
        };
        if signed(issuer) {
            return Ok(());
        }
        let signer = self.signer.as_ref().ok_or(OcspError::Signature)?;
        let may_answer =
            signer.extended_key_usage().ok().flatten().is_some_and(|usage| usage.value.ocsp_signing);
        let issued = same_name(signer.issuer(), issuer.subject())
            && signer.verify_signature(Some(issuer.public_key())).is_ok()
            && signer.validity().is_valid();
        if may_answer && issued && signed(signer) { Ok(()) } else { Err(OcspError::Signature) }
    }

    fn about(&self, id: &Id) -> Result<Single, OcspError> {
        let mut rest = self.singles;
        while !rest.is_empty() {
            let (after, single) = next(rest, Tag::Sequence)?;
            rest = after;
            let (fields, named) = next(single, Tag::Sequence)?;
            let (named, _algorithm) = next(named, Tag::Sequence)?;
            let (named, name) = next(named, Tag::OctetString)?;
            let (named, key) = next(named, Tag::OctetString)?;
            let (_, serial) = next(named, Tag::Integer)?;
            if name != id.name || key != id.key || serial != id.serial {
                continue;
            }
            let (fields, status) = any(fields)?;
            let (fields, this_update) = time(fields)?;
            let next_update = match any(fields) {
                Ok((_, tagged)) if tagged.header.tag() == Tag(0) => Some(time(tagged.data)?.1),
                _ => None,
            };
            return Ok(Single { status: status.header.tag(), this_update, next_update });
        }
        Err(OcspError::Other)
    }
}

fn same_name(one: &X509Name<'_>, other: &X509Name<'_>) -> bool {
    one.as_raw() == other.as_raw()
}

fn any(input: &[u8]) -> Result<(&[u8], Any<'_>), OcspError> {
    Any::from_der(input).map_err(|_| OcspError::Malformed)
}

/// The content of the next element, which has to be of a kind, and what follows it.
fn next(input: &[u8], tag: Tag) -> Result<(&[u8], &[u8]), OcspError> {
    let (rest, element) = any(input)?;
    let expected = element.header.tag() == tag && element.header.class() == Class::Universal;
    if expected { Ok((rest, element.data)) } else { Err(OcspError::Malformed) }
}

fn time(input: &[u8]) -> Result<(&[u8], SystemTime), OcspError> {
    let (rest, time) = GeneralizedTime::from_der(input).map_err(|_| OcspError::Malformed)?;
    let time = time.utc_datetime().map_err(|_| OcspError::Malformed)?;
    Ok((rest, time.into()))
}

fn octets(content: &[u8]) -> Vec<u8> {
    tagged(0x04, content)
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tagged(0x30, &parts.concat())
}

/// An element of DER.
fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut element = vec![tag];
    let length = content.len().to_be_bytes();
    match content.len() {
        short @ 0..0x80 => element.push(short as u8),
        _ => {
            let digits = &length[length.iter().position(|byte| *byte != 0).unwrap_or(0)..];
            element.push(0x80 | digits.len() as u8);
            element.extend(digits);
        }
    }
    element.extend(content);
    element
}
