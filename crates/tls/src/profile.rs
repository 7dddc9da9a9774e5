//! What is spoken: versions, ciphers and key exchanges, by profile.
//!
//! Both profiles have forward secrecy and authenticated encryption only. The hybrid key exchange X25519MLKEM768 goes
//! first, so that what is recorded today stays secret when large quantum computers exist.

use std::sync::Arc;

use rustls::SupportedProtocolVersion;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite as suite, kx_group};
use rustls::version::{TLS12, TLS13};

use crate::config::Profile;

static MODERN: &[&SupportedProtocolVersion] = &[&TLS13];
static INTERMEDIATE: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

impl Profile {
    /// The versions of the protocol.
    pub fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Self::Modern => MODERN,
            Self::Intermediate => INTERMEDIATE,
        }
    }

    /// Ciphers and key exchanges, in the order of preference.
    pub fn provider(self) -> Arc<CryptoProvider> {
        let mut cipher_suites = vec![
            suite::TLS13_AES_128_GCM_SHA256,
            suite::TLS13_AES_256_GCM_SHA384,
            suite::TLS13_CHACHA20_POLY1305_SHA256,
        ];
        if self == Self::Intermediate {
            cipher_suites.extend([
                suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
                suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
                suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
                suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
                suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
                suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
            ]);
        }
        let kx_groups =
            vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];
        Arc::new(CryptoProvider { cipher_suites, kx_groups, ..aws_lc_rs::default_provider() })
    }
}
