//! What is done with keys.

use selvedge_webcrypto::aes::{self, Mode};
use selvedge_webcrypto::derive::{self, ScryptCost};
use selvedge_webcrypto::sign::{self, Scheme};
use selvedge_webcrypto::{Error, GoOn, Hash, Key, Result, hash as digests, mac, oaep};
use v8::{FunctionCallbackArguments, PinScope, ReturnValue, Value};

use super::{Output, answer, bytes, hash, key, name, number, number32, perform};
use crate::handles;
use crate::limits::Buffers;
use crate::state::State;

/// What takes longer than this by the estimates below is done by another thread, nanoseconds. Handing work over costs a
/// copy of its data and some 50 microseconds, and until then the isolate's thread does nothing else.
const QUICK_NS: usize = 650_000;
/// Rounds of PBKDF2 that are done at once; each takes less than a microsecond.
const ROUNDS: u64 = 200;
/// RSA keys of more bits than this verify elsewhere.
const RSA_LARGE: u32 = 4096;
/// Longest secret that is derived, bytes.
const DERIVED_MAX: usize = 16 << 20;
/// About what one unit of [`ScryptCost::work`] takes, nanoseconds.
const SCRYPT_NS: u64 = 120;

/// Whether so many bytes take long at so many nanoseconds a KiB.
fn is_long(bytes: usize, ns_per_kib: usize) -> bool {
    (bytes >> 10).saturating_mul(ns_per_kib) > QUICK_NS
}

/// About what a KiB takes to digest on a processor with instructions for it, nanoseconds.
fn hash_ns(hash: Hash) -> usize {
    match hash {
        Hash::Sha1 | Hash::Sha224 | Hash::Sha256 => 600,
        Hash::Md5 | Hash::Sha384 | Hash::Sha512 | Hash::Sha512_256 => 1_700,
    }
}

/// `digest(hash, data, sync)`.
pub fn digest(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    result: ReturnValue<'_, Value>,
) {
    let hash = match hash(scope, &arguments, 0) {
        Ok(hash) => hash,
        Err(error) => return answer(scope, result, Err(error)),
    };
    let heavy = is_long(bytes(&arguments, 1).len(), hash_ns(hash)) && !arguments.get(2).is_true();
    perform(scope, result, heavy, hash, [arguments.get(1)], |hash, [data], _| {
        digests::digest(*hash, data).map(Output::Bytes)
    });
}

/// How to sign or to authenticate.
#[derive(Clone, Copy)]
enum Method {
    Hmac(Hash),
    Pair(Scheme),
}

/// The method named by the arguments 1 to 3: scheme, hash, salt.
fn method(scope: &v8::Isolate, arguments: &FunctionCallbackArguments<'_>) -> Result<Method> {
    let scheme = name(scope, arguments, 1);
    if scheme == "Ed25519" {
        return Ok(Method::Pair(Scheme::Ed25519));
    }
    let hash = hash(scope, arguments, 2)?;
    Ok(match &scheme[..] {
        "HMAC" => Method::Hmac(hash),
        "RSASSA-PKCS1-v1_5" => Method::Pair(Scheme::RsaPkcs1(hash)),
        "RSA-PSS" => Method::Pair(Scheme::RsaPss(hash, number32(arguments, 3))),
        "ECDSA" => Method::Pair(Scheme::Ecdsa(hash)),
        "ECDSA-DER" => Method::Pair(Scheme::EcdsaDer(hash)),
        _ => return Err(Error::NotSupported("The signature scheme is not supported.")),
    })
}

/// About what a KiB takes, nanoseconds.
fn method_ns(method: Method) -> usize {
    match method {
        Method::Hmac(hash) => hash_ns(hash),
        Method::Pair(
            Scheme::RsaPkcs1(hash) | Scheme::RsaPss(hash, _) | Scheme::Ecdsa(hash) | Scheme::EcdsaDer(hash),
        ) => hash_ns(hash),
        // It reads its message twice, with SHA-512.
        Method::Pair(Scheme::Ed25519) => 3_400,
    }
}

fn is_rsa(method: Method) -> bool {
    matches!(method, Method::Pair(Scheme::RsaPkcs1(_) | Scheme::RsaPss(..)))
}

/// `keySign(key, scheme, hash, salt, data, sync)`.
pub fn sign(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    result: ReturnValue<'_, Value>,
) {
    let given = key(scope, &arguments, 0).and_then(|key| Ok((key, method(scope, &arguments)?)));
    let (key, method) = match given {
        Ok(given) => given,
        Err(error) => return answer(scope, result, Err(error)),
    };
    let large = is_long(bytes(&arguments, 4).len(), method_ns(method)) || is_rsa(method);
    let heavy = large && !arguments.get(5).is_true();
    perform(scope, result, heavy, (key, method), [arguments.get(4)], |(key, method), [data], _| {
        let signature = match *method {
            Method::Hmac(hash) => mac::sign(key, hash, data),
            Method::Pair(scheme) => sign::sign(key, scheme, data),
        };
        signature.map(Output::Bytes)
    });
}

/// `keyVerify(key, scheme, hash, salt, data, signature, sync)`.
pub fn verify(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    result: ReturnValue<'_, Value>,
) {
    let given = key(scope, &arguments, 0).and_then(|key| Ok((key, method(scope, &arguments)?)));
    let (key, method) = match given {
        Ok(given) => given,
        Err(error) => return answer(scope, result, Err(error)),
    };
    let long = is_long(bytes(&arguments, 4).len(), method_ns(method));
    let large = long || is_rsa(method) && key.bits() > RSA_LARGE;
    let heavy = large && !arguments.get(6).is_true();
    let inputs = [arguments.get(4), arguments.get(5)];
    perform(scope, result, heavy, (key, method), inputs, |(key, method), [data, signature], _| {
        let good = match *method {
            Method::Hmac(hash) => mac::verify(key, hash, signature, data),
            Method::Pair(scheme) => sign::verify(key, scheme, signature, data),
        };
        good.map(Output::Flag)
    });
}

/// How to encrypt.
enum Cipher {
    Aes(Mode),
    Oaep(Hash, Vec<u8>),
}

/// The cipher named by the arguments 2 to 5: mode, first bytes, second bytes, number or hash.
fn cipher(scope: &v8::Isolate, arguments: &FunctionCallbackArguments<'_>) -> Result<Cipher> {
    let first = || bytes(arguments, 3).to_vec();
    Ok(match &name(scope, arguments, 2)[..] {
        "AES-GCM" => Cipher::Aes(Mode::Gcm {
            iv: first(),
            additional: bytes(arguments, 4).to_vec(),
            tag_bits: number32(arguments, 5),
        }),
        "AES-CBC" => Cipher::Aes(Mode::Cbc { iv: first() }),
        "AES-CTR" => Cipher::Aes(Mode::Ctr { counter: first(), length: number32(arguments, 5) }),
        "AES-KW" => Cipher::Aes(Mode::Kw),
        "RSA-OAEP" => Cipher::Oaep(hash(scope, arguments, 5)?, first()),
        _ => return Err(Error::NotSupported("The cipher is not supported.")),
    })
}

/// `keyCrypt(key, encrypt, mode, first, second, number, data, sync)`.
pub fn crypt(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    result: ReturnValue<'_, Value>,
) {
    let given = key(scope, &arguments, 0).and_then(|key| Ok((key, cipher(scope, &arguments)?)));
    let (key, cipher) = match given {
        Ok(given) => given,
        Err(error) => return answer(scope, result, Err(error)),
    };
    let encrypt = arguments.get(1).is_true();
    let bytes_in = bytes(&arguments, 6).len();
    let long = match &cipher {
        Cipher::Aes(Mode::Gcm { iv, additional, .. }) => is_long(bytes_in + iv.len() + additional.len(), 150),
        Cipher::Aes(Mode::Ctr { .. }) => is_long(bytes_in, 200),
        Cipher::Aes(Mode::Cbc { .. }) => is_long(bytes_in, 1_100),
        // Six times over its data, eight bytes at a time.
        Cipher::Aes(Mode::Kw) => is_long(bytes_in, 30_000),
        Cipher::Oaep(..) => false,
    };
    let slow = matches!(cipher, Cipher::Oaep(..)) && (!encrypt || key.bits() > RSA_LARGE);
    let heavy = (slow || long) && !arguments.get(7).is_true();
    perform(scope, result, heavy, (key, cipher, encrypt), [arguments.get(6)], |parameters, [data], _| {
        let (key, cipher, encrypt) = parameters;
        let run = match (cipher, encrypt) {
            (Cipher::Aes(mode), true) => aes::encrypt(key, mode, data),
            (Cipher::Aes(mode), false) => aes::decrypt(key, mode, data),
            (Cipher::Oaep(hash, label), true) => oaep::encrypt(key, *hash, label, data),
            (Cipher::Oaep(hash, label), false) => oaep::decrypt(key, *hash, label, data),
        };
        run.map(Output::Bytes)
    });
}

/// `keyAgree(key, peer)`.
pub fn agree(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    result: ReturnValue<'_, Value>,
) {
    let secret = key(scope, &arguments, 0)
        .and_then(|one| Ok((one, key(scope, &arguments, 1)?)))
        .and_then(|(one, peer)| derive::agree(&one, &peer));
    answer(scope, result, secret.map(Output::Bytes));
}

/// The bytes of a secret key, or the bytes themselves.
fn secret(scope: &PinScope<'_, '_>, arguments: &FunctionCallbackArguments<'_>, index: i32) -> Key {
    let given = handles::key(scope, arguments.get(index));
    given.unwrap_or_else(|| Key::secret(bytes(arguments, index).to_vec()))
}

/// The length argument, if it is one that may be asked for.
fn derived(arguments: &FunctionCallbackArguments<'_>, index: i32) -> Result<usize> {
    let length = usize::try_from(number(arguments, index)).ok().filter(|length| *length <= DERIVED_MAX);
    length.ok_or(Error::Operation("Such a long secret cannot be derived."))
}

/// `hkdf(hash, secret, salt, info, length)`.
pub fn hkdf(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    result: ReturnValue<'_, Value>,
) {
    let secret = secret(scope, &arguments, 1);
    let (salt, info) = (bytes(&arguments, 2), bytes(&arguments, 3));
    let out = hash(scope, &arguments, 0)
        .and_then(|hash| derive::hkdf(hash, secret.bytes()?, salt, info, derived(&arguments, 4)?));
    answer(scope, result, out.map(Output::Bytes));
}

/// `pbkdf2(hash, secret, salt, iterations, length, sync)`.
pub fn pbkdf2(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    result: ReturnValue<'_, Value>,
) {
    let given = hash(scope, &arguments, 0).and_then(|hash| Ok((hash, derived(&arguments, 4)?)));
    let (hash, length) = match given {
        Ok(given) => given,
        Err(error) => return answer(scope, result, Err(error)),
    };
    let secret = secret(scope, &arguments, 1);
    let iterations = number32(&arguments, 3);
    let rounds = u64::from(iterations) * length.div_ceil(hash.length()) as u64;
    let heavy = rounds > ROUNDS && !arguments.get(5).is_true();
    perform(
        scope,
        result,
        heavy,
        (hash, secret, iterations, length),
        [arguments.get(2)],
        |(hash, secret, iterations, length), [salt], go_on: GoOn<'_>| {
            derive::pbkdf2(*hash, secret.bytes()?, salt, *iterations, *length, go_on).map(Output::Bytes)
        },
    );
}

/// `scrypt(password, salt, cost, blockSize, parallel, memoryMax, length, sync)`.
pub fn scrypt(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    result: ReturnValue<'_, Value>,
) {
    let cost = ScryptCost {
        cost: number(&arguments, 2),
        block_size: number(&arguments, 3),
        parallel: number(&arguments, 4),
    };
    let state = State::of(scope);
    let memory = usize::try_from(cost.memory()).unwrap_or(usize::MAX);
    // It cannot be stopped once it runs, and what it takes is not JavaScript's.
    let allowed = if cost.work().saturating_mul(SCRYPT_NS) > state.cpu.budget_ns() {
        Err(Error::Stopped)
    } else {
        derived(&arguments, 6).and_then(|length| {
            let full = Error::Operation("scrypt needs more memory than the worker may use.");
            Ok((length, Buffers::charge(&state.buffers, memory).ok_or(full)?))
        })
    };
    let (length, charge) = match allowed {
        Ok(allowed) => allowed,
        Err(error) => return answer(scope, result, Err(error)),
    };
    let memory_max = usize::try_from(number(&arguments, 5)).unwrap_or(usize::MAX);
    let heavy = !arguments.get(7).is_true();
    perform(
        scope,
        result,
        heavy,
        (cost, memory_max, length, charge),
        [arguments.get(0), arguments.get(1)],
        |(cost, memory_max, length, _), [password, salt], _| {
            derive::scrypt(password, salt, *cost, *memory_max, *length).map(Output::Bytes)
        },
    );
}
