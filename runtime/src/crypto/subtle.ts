/** `SubtleCrypto`: the order of checks is the standard's. */
import { JSONParse, JSONStringify, TypedArrayPrototypeGetByteLength } from "../internal/primordials.ts";
import { finishInterface, illegalConstructor, requireArguments } from "../internal/webidl.ts";
import * as ops from "../host.ts";
import type { Bytes } from "../ops.d.ts";
import { normalize, type Parameters } from "./algorithms.ts";
import { copyBytes, isBufferSource, type Jwk, toBufferSource, toJwk, toText } from "./convert.ts";
import { accessError, dataError, notSupported, settle } from "./errors.ts";
import { type CryptoKey, type Inner, toKey, toUsages, type Usage, usageSet } from "./key.ts";
import { exportPair, generatePair, importPair, type Pair } from "./pairs.ts";
import { exportSecret, generateSecret, importSecret, isSecret, lengthOf, requireUsages } from "./secrets.ts";
import { crypt, deriveBits, sign, verify } from "./use.ts";

type Identifier = unknown;

const FORMATS: Record<string, true> = { __proto__: null as never, raw: true, spki: true, pkcs8: true, jwk: true };

function toFormat(value: unknown): string {
  const format = toText(value);
  if (FORMATS[format] !== true) throw new TypeError(`The format must be "raw", "spki", "pkcs8" or "jwk".`);
  return format;
}

/** An identifier becomes a string before anything else happens, unless it is an object. */
function toIdentifier(value: unknown): Identifier {
  return (typeof value === "object" && value !== null) || typeof value === "function" ? value : toText(value);
}

/** Throws unless the key is one of the algorithm and may be used so. */
function allow(key: Inner, { name }: Parameters, usage: Usage): void {
  if (key.algorithm.name !== name) {
    throw accessError(`The key is one for ${key.algorithm.name}, not for ${name}.`);
  }
  if ((key.usages & usageSet(usage)) === 0) throw accessError(`The key's usages do not include "${usage}".`);
}

function exported(format: string, key: Inner): object {
  const { name } = key.algorithm;
  if (name === "HKDF" || name === "PBKDF2") throw notSupported(`Keys for ${name} cannot be exported.`);
  if (!key.extractable) throw accessError("The key is not extractable.");
  return isSecret(name) ? exportSecret(format, key) : exportPair(format, key);
}

function imported(
  format: string,
  data: Bytes | Jwk,
  parameters: Parameters,
  extractable: boolean,
  usages: number,
): CryptoKey {
  const make = isSecret(parameters.name) ? importSecret : importPair;
  const key = make(format, data, parameters, extractable, usages);
  if (toKey(key, "key").type !== "public") requireUsages(usages);
  return key;
}

/** For wrapping: AES-KW has an operation of its own, the others encrypt. */
function normalizeWrap(algorithm: Identifier): Parameters {
  try {
    return normalize(algorithm, "wrapKey");
  } catch {
    return normalize(algorithm, "encrypt");
  }
}

export class SubtleCrypto {
  #brand: undefined;

  constructor(token: unknown = undefined) {
    illegalConstructor(token);
  }

  /** Throws for a strange `this`, and for missing arguments. */
  static #enter(self: SubtleCrypto, given: number, needed: number, what: string): void {
    if (!(#brand in self)) throw new TypeError("Illegal invocation");
    requireArguments(given, needed, `SubtleCrypto.${what}`);
  }

  async digest(algorithm: Identifier, data: unknown): Promise<ArrayBuffer> {
    SubtleCrypto.#enter(this, arguments.length, 2, "digest");
    const identifier = toIdentifier(algorithm);
    const bytes = toBufferSource(data, "data");
    const { name } = normalize(identifier, "digest");
    return (await settle(ops.digest(name, bytes, false))).value;
  }

  async encrypt(algorithm: Identifier, key: unknown, data: unknown): Promise<ArrayBuffer> {
    SubtleCrypto.#enter(this, arguments.length, 3, "encrypt");
    return await run(algorithm, key, data, true);
  }

  async decrypt(algorithm: Identifier, key: unknown, data: unknown): Promise<ArrayBuffer> {
    SubtleCrypto.#enter(this, arguments.length, 3, "decrypt");
    return await run(algorithm, key, data, false);
  }

  async sign(algorithm: Identifier, key: unknown, data: unknown): Promise<ArrayBuffer> {
    SubtleCrypto.#enter(this, arguments.length, 3, "sign");
    const identifier = toIdentifier(algorithm);
    const inner = toKey(key, "key");
    const bytes = toBufferSource(data, "data");
    const parameters = normalize(identifier, "sign");
    allow(inner, parameters, "sign");
    return (await settle(sign(parameters, inner, bytes))).value;
  }

  async verify(algorithm: Identifier, key: unknown, signature: unknown, data: unknown): Promise<boolean> {
    SubtleCrypto.#enter(this, arguments.length, 4, "verify");
    const identifier = toIdentifier(algorithm);
    const inner = toKey(key, "key");
    const code = toBufferSource(signature, "signature");
    const bytes = toBufferSource(data, "data");
    const parameters = normalize(identifier, "sign");
    allow(inner, parameters, "verify");
    return (await settle(verify(parameters, inner, code, bytes))).value;
  }

  async generateKey(algorithm: Identifier, extractable: unknown, keyUsages: unknown): Promise<CryptoKey | Pair> {
    SubtleCrypto.#enter(this, arguments.length, 3, "generateKey");
    const identifier = toIdentifier(algorithm);
    const usages = toUsages(keyUsages);
    const parameters = normalize(identifier, "generateKey");
    const make = isSecret(parameters.name) ? generateSecret : generatePair;
    // Awaited, since returning a promise would look up its `then`; so below.
    return await make(parameters, !!extractable, usages);
  }

  async deriveKey(
    algorithm: Identifier,
    baseKey: unknown,
    derivedKeyType: Identifier,
    extractable: unknown,
    keyUsages: unknown,
  ): Promise<CryptoKey> {
    SubtleCrypto.#enter(this, arguments.length, 5, "deriveKey");
    const identifier = toIdentifier(algorithm);
    const inner = toKey(baseKey, "baseKey");
    const derived = toIdentifier(derivedKeyType);
    const usages = toUsages(keyUsages);
    const parameters = normalize(identifier, "deriveBits");
    const forImport = normalize(derived, "importKey");
    const forLength = normalize(derived, "length");
    allow(inner, parameters, "deriveKey");
    const secret = (await deriveBits(parameters, inner, lengthOf(forLength))).value;
    return imported("raw", secret, forImport, !!extractable, usages);
  }

  async deriveBits(algorithm: Identifier, baseKey: unknown, length: unknown = null): Promise<ArrayBuffer> {
    SubtleCrypto.#enter(this, arguments.length, 2, "deriveBits");
    const identifier = toIdentifier(algorithm);
    const inner = toKey(baseKey, "baseKey");
    const bits = length === null ? null : (length as number) >>> 0;
    const parameters = normalize(identifier, "deriveBits");
    allow(inner, parameters, "deriveBits");
    return (await deriveBits(parameters, inner, bits)).value;
  }

  async importKey(
    format: unknown,
    keyData: unknown,
    algorithm: Identifier,
    extractable: unknown,
    keyUsages: unknown,
  ): Promise<CryptoKey> {
    SubtleCrypto.#enter(this, arguments.length, 5, "importKey");
    const kind = toFormat(format);
    const data = isBufferSource(keyData) ? keyData : toJwk(keyData);
    const identifier = toIdentifier(algorithm);
    const usages = toUsages(keyUsages);
    const parameters = normalize(identifier, "importKey");
    if (isBufferSource(data) === (kind === "jwk")) {
      throw new TypeError(kind === "jwk" ? "The key must be a JSON Web Key." : "The key must be bytes.");
    }
    return imported(kind, data, parameters, !!extractable, usages);
  }

  async exportKey(format: unknown, key: unknown): Promise<object> {
    SubtleCrypto.#enter(this, arguments.length, 2, "exportKey");
    return exported(toFormat(format), toKey(key, "key"));
  }

  async wrapKey(
    format: unknown,
    key: unknown,
    wrappingKey: unknown,
    wrapAlgorithm: Identifier,
  ): Promise<ArrayBuffer> {
    SubtleCrypto.#enter(this, arguments.length, 4, "wrapKey");
    const kind = toFormat(format);
    const inner = toKey(key, "key");
    const wrapping = toKey(wrappingKey, "wrappingKey");
    const parameters = normalizeWrap(toIdentifier(wrapAlgorithm));
    allow(wrapping, parameters, "wrapKey");
    const data = exported(kind, inner);
    const bytes = kind === "jwk" ? ops.encodeUtf8(JSONStringify(data)!) : (data as ArrayBuffer);
    return (await settle(crypt(parameters, wrapping, bytes, true))).value;
  }

  async unwrapKey(
    format: unknown,
    wrappedKey: unknown,
    unwrappingKey: unknown,
    unwrapAlgorithm: Identifier,
    unwrappedKeyAlgorithm: Identifier,
    extractable: unknown,
    keyUsages: unknown,
  ): Promise<CryptoKey> {
    SubtleCrypto.#enter(this, arguments.length, 7, "unwrapKey");
    const kind = toFormat(format);
    const wrapped = toBufferSource(wrappedKey, "wrappedKey");
    const unwrapping = toKey(unwrappingKey, "unwrappingKey");
    const identifier = toIdentifier(unwrapAlgorithm);
    const forKey = toIdentifier(unwrappedKeyAlgorithm);
    const usages = toUsages(keyUsages);
    const parameters = normalizeWrap(identifier);
    const target = normalize(forKey, "importKey");
    allow(unwrapping, parameters, "unwrapKey");
    const bytes = (await settle(crypt(parameters, unwrapping, wrapped, false))).value;
    const data = kind === "jwk" ? parseJwk(bytes) : bytes;
    return imported(kind, data, target, !!extractable, usages);
  }

  /** Cloudflare's addition: compares in a time that depends on the length only. */
  timingSafeEqual(a: unknown, b: unknown): boolean {
    SubtleCrypto.#enter(this, arguments.length, 2, "timingSafeEqual");
    const one = copyBytes(toBufferSource(a, "The first argument"));
    const two = copyBytes(toBufferSource(b, "The second argument"));
    if (TypedArrayPrototypeGetByteLength(one) !== TypedArrayPrototypeGetByteLength(two)) {
      throw new TypeError("timingSafeEqual takes two buffers of the same length.");
    }
    return ops.bytesEqual(one, two);
  }
}
finishInterface(SubtleCrypto, "SubtleCrypto");

async function run(algorithm: Identifier, key: unknown, data: unknown, encrypt: boolean): Promise<ArrayBuffer> {
  const identifier = toIdentifier(algorithm);
  const inner = toKey(key, "key");
  const bytes = toBufferSource(data, "data");
  const parameters = normalize(identifier, "encrypt");
  allow(inner, parameters, encrypt ? "encrypt" : "decrypt");
  return (await settle(crypt(parameters, inner, bytes, encrypt))).value;
}

function parseJwk(bytes: ArrayBuffer): Jwk {
  let value: unknown;
  try {
    value = JSONParse(ops.decodeUtf8(bytes, false, false));
  } catch {
    throw dataError("The unwrapped data is no JSON Web Key.");
  }
  if (typeof value !== "object" || value === null) throw dataError("The unwrapped data is no JSON Web Key.");
  const jwk = toJwk(value);
  if (jwk.kty === undefined) throw dataError(`The JSON Web Key lacks the member "kty".`);
  return jwk;
}
