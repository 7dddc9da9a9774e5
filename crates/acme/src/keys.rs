//! Keys, requests for certificates, and certificates as they arrive.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use instant_acme::CertificateIdentifier;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::KeyKind;
use crate::names::Name;
use crate::schedule::Validity;

/// Certificates in a chain.
const CHAIN_MAX: usize = 10;

/// A certificate with its key, and what schedules need to know about it.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    /// What TLS serves.
    pub(crate) key: Arc<CertifiedKey>,
    /// When it is good.
    pub(crate) validity: Validity,
    /// How its issuer knows it (RFC 9773 section 4.1), if it has all that this takes.
    pub(crate) identifier: Option<CertificateIdentifier<'static>>,
    /// From 0 to 1, evenly over certificates, always the same for this one.
    pub(crate) luck: f64,
}

/// A fresh key, as PEM (PKCS #8), and the request for a certificate with it, as DER.
pub(crate) fn request(name: &Name, kind: KeyKind) -> Result<(String, Vec<u8>), rcgen::Error> {
    let algorithm = match kind {
        KeyKind::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        KeyKind::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
    };
    let key = KeyPair::generate_for(algorithm)?;
    let mut params = CertificateParams::new([name.as_str().to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key)?;
    Ok((key.serialize_pem(), request.der().to_vec()))
}

/// The self-signed certificate that answers TLS-ALPN-01 (RFC 8737 section 3).
pub(crate) fn alpn_answer(name: &Name, authorization: &[u8]) -> Result<CertifiedKey, String> {
    let key = KeyPair::generate().map_err(|error| error.to_string())?;
    let mut params = CertificateParams::new([name.as_str().to_owned()]).map_err(|error| error.to_string())?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(authorization)];
    let certificate = params.self_signed(&key).map_err(|error| error.to_string())?;
    let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    // Not compared with the key, as others are: webpki refuses to read a critical extension that it does not know.
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let secret = provider.key_provider.load_private_key(secret).map_err(|error| error.to_string())?;
    Ok(CertifiedKey::new(vec![certificate.der().clone()], secret))
}

impl Certificate {
    /// Reads a key and its chain from PEM and checks that they belong together and to `name`.
    pub(crate) fn read(name: &Name, pem: &[u8]) -> Result<Self, String> {
        let secret =
            PrivateKeyDer::from_pem_slice(pem).map_err(|error| format!("it has no usable key: {error}"))?;
        let chain = CertificateDer::pem_slice_iter(pem)
            .take(CHAIN_MAX)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| format!("its chain is unusable: {error}"))?;
        let leaf = chain.first().ok_or("it holds no certificate")?;
        let (_, parsed) =
            X509Certificate::from_der(leaf).map_err(|error| format!("it is no certificate: {error}"))?;
        let names = parsed.subject_alternative_name().ok().flatten();
        let for_name = names.is_some_and(|names| {
            names.value.general_names.iter().any(
                |held| matches!(held, GeneralName::DNSName(held) if held.eq_ignore_ascii_case(name.as_str())),
            )
        });
        if !for_name {
            return Err(format!("it is not for {name}"));
        }
        let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or(0);
        let validity = Validity {
            from: seconds(parsed.validity().not_before),
            until: seconds(parsed.validity().not_after),
        };
        let identifier = CertificateIdentifier::try_from(leaf).ok().map(CertificateIdentifier::into_owned);
        let luck = luck(leaf);
        let key = Arc::new(certified(chain, secret)?);
        Ok(Self { key, validity, identifier, luck })
    }
}

fn certified(
    chain: Vec<CertificateDer<'static>>,
    secret: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, String> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    CertifiedKey::from_der(chain, secret, &provider)
        .map_err(|error| format!("key and certificate do not belong together: {error}"))
}

/// From 0 to 1, evenly, by what is given.
pub(crate) fn luck(seed: &[u8]) -> f64 {
    let hash = digest(&SHA256, seed);
    let mut first = [0; 4];
    first.copy_from_slice(&hash.as_ref()[..4]);
    f64::from(u32::from_be_bytes(first)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn self_signed(name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().self_signed(&key).unwrap();
        (key.serialize_pem(), certificate.pem())
    }

    #[test]
    fn key_and_certificate_must_fit_each_other_and_the_name() {
        let name = Name::parse("a.example").unwrap();
        let (key, certificate) = self_signed("a.example");
        let read = Certificate::read(&name, format!("{key}{certificate}").as_bytes()).unwrap();
        assert!(read.validity.from < read.validity.until);
        let (other, _) = self_signed("a.example");
        let error = Certificate::read(&name, format!("{other}{certificate}").as_bytes()).unwrap_err();
        assert!(error.contains("belong together"), "{error}");
        let stranger = Name::parse("b.example").unwrap();
        let error = Certificate::read(&stranger, format!("{key}{certificate}").as_bytes()).unwrap_err();
        assert!(error.contains("not for b.example"), "{error}");
    }

    #[test]
    fn damaged_files_are_refused() {
        let name = Name::parse("a.example").unwrap();
        let (key, certificate) = self_signed("a.example");
        for pem in [String::new(), key.clone(), certificate.clone(), format!("{key}{}", &certificate[..200])]
        {
            assert!(Certificate::read(&name, pem.as_bytes()).is_err());
        }
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(Certificate::read(&name, format!("{key}{garbage}").as_bytes()).is_err());
    }

    #[test]
    fn the_answer_to_tls_alpn_holds_the_digest_in_a_critical_extension() {
        let name = Name::parse("a.example").unwrap();
        let answer = alpn_answer(&name, &[7; 32]).unwrap();
        let (_, parsed) = X509Certificate::from_der(&answer.cert[0]).unwrap();
        let extension =
            parsed.extensions().iter().find(|e| e.oid.to_id_string() == "1.3.6.1.5.5.7.1.31").unwrap();
        assert!(extension.critical);
        assert_eq!(extension.value, [&[4, 32][..], &[7; 32]].concat());
    }
}
