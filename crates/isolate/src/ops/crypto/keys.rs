//! Keys: made, read, written.

use selvedge_webcrypto::format::{self, Format};
use selvedge_webcrypto::{Curve, Error, GoOn, Key, Kind, Result, generate};
use v8::{FunctionCallbackArguments, PinScope, ReturnValue, Value};

use super::{Output, answer, bytes, failure, key, name, number32, perform};
use crate::ops::uint8_array;

/// Longest member of a JSON Web Key, characters: four times that of the largest RSA key.
const MEMBER_MAX: usize = 16 << 10;

fn kind(name: &str) -> Result<Kind> {
    match name {
        "secret" => Ok(Kind::Secret),
        "RSA" => Ok(Kind::Rsa),
        "Ed25519" => Ok(Kind::Ed25519),
        "X25519" => Ok(Kind::X25519),
        _ => Curve::by_name(name).map(Kind::Ec).ok_or(Error::NotSupported("The curve is not supported.")),
    }
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Secret => "secret",
        Kind::Rsa => "RSA",
        Kind::Ec(curve) => curve.name(),
        Kind::Ed25519 => "Ed25519",
        Kind::X25519 => "X25519",
    }
}

/// `keyGenerate(kind, bits, exponent, sync)`.
pub fn generate(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    result: ReturnValue<'_, Value>,
) {
    let kind = match kind(&name(scope, &arguments, 0)) {
        Ok(kind) => kind,
        Err(error) => return answer(scope, result, Err(error)),
    };
    let heavy = kind == Kind::Rsa && !arguments.get(3).is_true();
    let bits = number32(&arguments, 1);
    perform(scope, result, heavy, (kind, bits), [arguments.get(2)], make);
}

fn make(&(kind, bits): &(Kind, u32), [exponent]: [&[u8]; 1], go_on: GoOn<'_>) -> Result<Output> {
    let key = match kind {
        Kind::Secret if bits > 1 << 20 => Err(Error::Operation("Such a long key cannot be generated.")),
        Kind::Secret => generate::secret(bits),
        Kind::Rsa => generate::rsa(bits, exponent, go_on),
        Kind::Ec(curve) => generate::ec(curve),
        Kind::Ed25519 => generate::ed25519(),
        Kind::X25519 => generate::x25519(),
    };
    key.map(Output::Key)
}

/// `keyImport(kind, format, data)`.
pub fn import(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    result: ReturnValue<'_, Value>,
) {
    let (kind_name, format_name) = (name(scope, &arguments, 0), name(scope, &arguments, 1));
    let data = bytes(&arguments, 2);
    let key = match &format_name[..] {
        "any" => format::import_any(data),
        "number" => match kind(&kind_name) {
            Ok(Kind::Ec(curve)) => format::ec_from_number(curve, data),
            Ok(kind) => import_seed(kind, data),
            Err(error) => Err(error),
        },
        name => kind(&kind_name).and_then(|kind| format::import(kind, plain(name)?, data)),
    };
    answer(scope, result, key.map(Output::Key));
}

fn import_seed(kind: Kind, data: &[u8]) -> Result<Key> {
    match kind {
        Kind::Ed25519 | Kind::X25519 => format::okp_from_seed(kind, data),
        _ => Err(Error::NotSupported("Keys of this kind are not made from a number.")),
    }
}

fn plain(name: &str) -> Result<Format> {
    match name {
        "raw" => Ok(Format::Raw),
        "spki" => Ok(Format::Spki),
        "pkcs8" => Ok(Format::Pkcs8),
        _ => Err(Error::NotSupported("The format of the key is not supported.")),
    }
}

/// `keyImportJwk(kind, members)`.
pub fn import_jwk(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    result: ReturnValue<'_, Value>,
) {
    let kind = match kind(&name(scope, &arguments, 0)) {
        Ok(kind) => kind,
        Err(error) => return answer(scope, result, Err(error)),
    };
    let mut members = Vec::new();
    for index in 1..arguments.length().min(9) {
        let Ok(member) = v8::Local::<v8::String>::try_from(arguments.get(index)) else {
            members.push(String::new());
            continue;
        };
        // A secret may be long; the numbers of a key pair may not.
        if kind != Kind::Secret && member.length() > MEMBER_MAX {
            return answer(scope, result, Err(Error::Data("A member of the JSON Web Key is too long.")));
        }
        members.push(member.to_rust_string_lossy(scope));
    }
    let members: Vec<&str> = members.iter().map(String::as_str).collect();
    let key = format::import_jwk(kind, &members);
    answer(scope, result, key.map(Output::Key));
}

/// `keyExport(key, format)`.
pub fn export(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    result: ReturnValue<'_, Value>,
) {
    let format_name = name(scope, &arguments, 1);
    let bytes = key(scope, &arguments, 0).and_then(|key| {
        if format_name == "pem" {
            format::export_pem(&key).map(String::into_bytes)
        } else {
            format::export(&key, plain(&format_name)?)
        }
    });
    answer(scope, result, bytes.map(Output::Bytes));
}

/// `keyExportJwk(key)`.
pub fn export_jwk(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    let value = match key(scope, &arguments, 0).and_then(|key| format::export_jwk(&key)) {
        Ok(members) => {
            let mut elements: Vec<v8::Local<'_, Value>> = Vec::with_capacity(members.len());
            for member in members {
                let Some(member) = v8::String::new(scope, &member) else { return };
                elements.push(member.into());
            }
            Some(v8::Array::new_with_elements(scope, &elements).into())
        }
        Err(error) => failure(scope, error),
    };
    if let Some(value) = value {
        result.set(value);
    }
}

/// `keyInfo(key)`.
pub fn info(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    mut result: ReturnValue<'_, Value>,
) {
    let Ok(key) = key(scope, &arguments, 0) else { return };
    let exponent = match format::rsa_exponent(&key) {
        Ok(exponent) => uint8_array(scope, &exponent),
        Err(_) => Some(v8::undefined(scope).into()),
    };
    let (Some(exponent), Some(kind)) = (exponent, v8::String::new(scope, kind_name(key.kind()))) else {
        return;
    };
    let private = v8::Boolean::new(scope, key.is_private()).into();
    let bits = v8::Integer::new_from_unsigned(scope, key.bits()).into();
    result.set(v8::Array::new_with_elements(scope, &[kind.into(), private, bits, exponent]).into());
}

/// `keyPublic(key)`.
pub fn public(
    scope: &mut PinScope<'_, '_>,
    arguments: FunctionCallbackArguments<'_>,
    result: ReturnValue<'_, Value>,
) {
    let public = key(scope, &arguments, 0).and_then(|key| key.public());
    answer(scope, result, public.map(Output::Key));
}
