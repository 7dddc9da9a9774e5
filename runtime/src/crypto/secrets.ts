/** Keys that are plain bytes: AES, HMAC, HKDF, PBKDF2. */
import * as ops from "../host.ts";
import type { Bytes } from "../ops.d.ts";
import type { Parameters } from "./algorithms.ts";
import type { Jwk } from "./convert.ts";
import { check, dataError, notSupported, operationError, settle, syntaxError } from "./errors.ts";
import { algorithmName, checkJwk, expect, expectAlgorithm, writeJwk } from "./jwk.ts";
import { type CryptoKey, type Inner, type KeyAlgorithm, makeKey, restrictUsages, usageSet } from "./key.ts";

const CIPHER = usageSet("encrypt", "decrypt", "wrapKey", "unwrapKey");
const WRAP = usageSet("wrapKey", "unwrapKey");
const SIGN = usageSet("sign", "verify");
const DERIVE = usageSet("deriveKey", "deriveBits");

export function isSecret(name: string): boolean {
  return isAes(name) || name === "HMAC" || isDerivation(name);
}

export function isAes(name: string): boolean {
  return name === "AES-GCM" || name === "AES-CBC" || name === "AES-CTR" || name === "AES-KW";
}

function isDerivation(name: string): boolean {
  return name === "HKDF" || name === "PBKDF2";
}

function usagesOf(name: string): number {
  return name === "HMAC" ? SIGN : name === "AES-KW" ? WRAP : isAes(name) ? CIPHER : DERIVE;
}

/** Throws for keys without a usage, which nobody could ever use. */
export function requireUsages(usages: number): void {
  if (usages === 0) throw syntaxError("A secret or private key needs at least one usage.");
}

function isAesLength(bits: number | undefined): boolean {
  return bits === 128 || bits === 192 || bits === 256;
}

/** Bits of the key that a hash's HMAC likes best: those of its block. */
function blockBits(hash: string): number {
  return hash === "SHA-384" || hash === "SHA-512" ? 1024 : 512;
}

/** Bits of a key that is to be derived; null when the algorithm does not say. */
export function lengthOf({ name, length, hash }: Parameters): number | null {
  if (isAes(name)) {
    if (!isAesLength(length)) throw operationError("An AES key has 128, 192 or 256 bits.");
    return length!;
  }
  if (name !== "HMAC") return null;
  if (length === 0) throw new TypeError("An HMAC key needs at least one bit.");
  return length ?? blockBits(hash!);
}

export async function generateSecret(parameters: Parameters, extractable: boolean, usages: number): Promise<CryptoKey> {
  const { name, hash } = parameters;
  restrictUsages(usages, usagesOf(name), name);
  if (name === "HMAC" && parameters.length === 0) throw operationError("An HMAC key needs at least one bit.");
  const length = lengthOf(parameters)!;
  requireUsages(usages);
  const handle = (await settle(ops.keyGenerate("secret", length, undefined, false))).value;
  const algorithm = { __proto__: null, name, hash, length } as KeyAlgorithm;
  return makeKey(handle, "secret", extractable, algorithm, usages);
}

export function importSecret(
  format: string,
  data: Bytes | Jwk,
  parameters: Parameters,
  extractable: boolean,
  usages: number,
): CryptoKey {
  const { name, hash } = parameters;
  if (isDerivation(name)) {
    if (format !== "raw") throw notSupported(`Keys for ${name} are imported as "raw" only.`);
    restrictUsages(usages, DERIVE, name);
    if (extractable) throw syntaxError(`A key for ${name} cannot be extractable.`);
    const handle = check(ops.keyImport("secret", "raw", data as Bytes));
    return makeKey(handle, "secret", false, { __proto__: null, name } as KeyAlgorithm, usages);
  }
  restrictUsages(usages, usagesOf(name), name);
  let handle;
  if (format === "raw") {
    handle = check(ops.keyImport("secret", "raw", data as Bytes));
  } else if (format === "jwk") {
    const jwk = data as Jwk;
    expect(jwk, "kty", "oct");
    if (jwk.k === undefined) throw dataError(`The JSON Web Key lacks the member "k".`);
    handle = check(ops.keyImportJwk("secret", jwk.k));
    const bits = ops.keyInfo(handle)[2];
    if (name === "HMAC" || isAesLength(bits)) expectAlgorithm(jwk, algorithmName(name, hash, bits));
    checkJwk(jwk, name === "HMAC" ? "sig" : "enc", extractable, usages);
  } else {
    throw notSupported(`Secret keys are imported as "raw" or "jwk".`);
  }
  let length = ops.keyInfo(handle)[2];
  if (name === "HMAC") {
    if (length === 0) throw dataError("An HMAC key needs at least one bit.");
    const wanted = parameters.length;
    if (wanted !== undefined) {
      if (wanted > length || wanted <= length - 8) throw dataError("The key does not have the length that was named.");
      length = wanted;
    }
  } else if (!isAesLength(length)) {
    throw dataError("An AES key has 128, 192 or 256 bits.");
  }
  const algorithm = { __proto__: null, name, hash, length } as KeyAlgorithm;
  return makeKey(handle, "secret", extractable, algorithm, usages);
}

export function exportSecret(format: string, key: Inner): object {
  if (format === "raw") return check(ops.keyExport(key.handle, "raw"));
  if (format === "jwk") return writeJwk(key, "oct", ["k"], check(ops.keyExportJwk(key.handle)));
  throw notSupported(`Secret keys are exported as "raw" or "jwk".`);
}
