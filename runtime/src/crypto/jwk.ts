/** What JSON Web Keys say beside their numbers (RFC 7517; names of algorithms by RFC 7518 and RFC 8037). */
import { ArrayPrototypeIndexOf, ObjectCreate, ObjectDefineProperty } from "../internal/primordials.ts";
import type { Jwk } from "./convert.ts";
import { dataError } from "./errors.ts";
import { type Inner, usageNames } from "./key.ts";

const HASH_BITS: Record<string, string> = { __proto__: null as never, "SHA-1": "1", "SHA-256": "256", "SHA-384": "384", "SHA-512": "512" };
const AES_MODES: Record<string, string> = { __proto__: null as never, "AES-CTR": "CTR", "AES-CBC": "CBC", "AES-GCM": "GCM", "AES-KW": "KW" };
const CURVES: Record<string, string> = { __proto__: null as never, "P-256": "ES256", "P-384": "ES384", "P-521": "ES512" };

/** The `alg` of a key; undefined for algorithms whose keys have none. */
export function algorithmName(name: string, hash: string | undefined, length: number, curve?: string): string | undefined {
  switch (name) {
    case "HMAC":
      return `HS${HASH_BITS[hash!]}`;
    case "RSASSA-PKCS1-v1_5":
      return `RS${HASH_BITS[hash!]}`;
    case "RSA-PSS":
      return `PS${HASH_BITS[hash!]}`;
    case "RSA-OAEP":
      return hash === "SHA-1" ? "RSA-OAEP" : `RSA-OAEP-${HASH_BITS[hash!]}`;
    case "ECDSA":
      return CURVES[curve!];
    case "Ed25519":
      return "Ed25519";
    default:
      return AES_MODES[name] === undefined ? undefined : `A${length}${AES_MODES[name]}`;
  }
}

/** Throws unless the key allows what is asked of it. `use` is what its member of that name may be. */
export function checkJwk(jwk: Jwk, use: "sig" | "enc", extractable: boolean, usages: number): void {
  if (usages !== 0 && jwk.use !== undefined && jwk.use !== use) {
    throw dataError(`The JSON Web Key's member "use" must be "${use}" for this algorithm.`);
  }
  const operations = jwk.key_ops;
  if (operations !== undefined) {
    const needed = usageNames(usages);
    for (let i = 0; i < operations.length; i++) {
      if (ArrayPrototypeIndexOf(operations, operations[i]!) !== i) {
        throw dataError(`The JSON Web Key's member "key_ops" lists an operation twice.`);
      }
    }
    for (let i = 0; i < needed.length; i++) {
      if (ArrayPrototypeIndexOf(operations, needed[i]!) < 0) {
        throw dataError(`The JSON Web Key's member "key_ops" does not allow "${needed[i]}".`);
      }
    }
  }
  if (jwk.ext === false && extractable) {
    throw dataError(`The JSON Web Key's member "ext" forbids that the key is extractable.`);
  }
}

/** Throws unless the member has the value that the algorithm asks for. */
export function expect(jwk: Jwk, member: "kty" | "crv", value: string): void {
  if (jwk[member] !== value) throw dataError(`The JSON Web Key's member "${member}" must be "${value}".`);
}

/** Throws unless the member `alg` is absent or right. */
export function expectAlgorithm(jwk: Jwk, name: string | undefined, other?: string): void {
  if (jwk.alg !== undefined && name !== undefined && jwk.alg !== name && jwk.alg !== other) {
    throw dataError(`The JSON Web Key's member "alg" must be "${name}" for this algorithm.`);
  }
}

/** In the order in which WebIDL writes a dictionary. */
const WRITTEN = ["alg", "crv", "d", "dp", "dq", "e", "ext", "k", "key_ops", "kty", "n", "p", "q", "qi", "x", "y"];

/** A JSON Web Key from its type and its members. */
export function writeJwk(key: Inner, kty: string, names: readonly string[], members: readonly string[]): object {
  const { name, hash, length, namedCurve } = key.algorithm;
  const values = ObjectCreate(null) as Record<string, unknown>;
  for (let i = 0; i < members.length; i++) values[names[i]!] = members[i];
  values.kty = kty;
  values.ext = key.extractable;
  values.key_ops = usageNames(key.usages);
  values.crv = kty === "OKP" ? name : namedCurve;
  values.alg = algorithmName(name, hash, length ?? 0, namedCurve);
  const jwk: Record<string, unknown> = {};
  for (let i = 0; i < WRITTEN.length; i++) {
    const value = values[WRITTEN[i]!];
    // Defined rather than assigned: setters may have been planted.
    if (value !== undefined) {
      ObjectDefineProperty(jwk, WRITTEN[i]!, { value, writable: true, enumerable: true, configurable: true });
    }
  }
  return jwk;
}
