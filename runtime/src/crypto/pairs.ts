/** Keys with a public half: RSA, the NIST curves, Ed25519 and X25519. */
import { TypedArrayPrototypeGetByteLength } from "../internal/primordials.ts";
import * as ops from "../host.ts";
import type { Bytes, Handle } from "../ops.d.ts";
import type { Parameters } from "./algorithms.ts";
import type { Jwk } from "./convert.ts";
import { accessError, check, dataError, notSupported, operationError, settle } from "./errors.ts";
import { algorithmName, checkJwk, expect, expectAlgorithm, writeJwk } from "./jwk.ts";
import { type CryptoKey, type Inner, type KeyAlgorithm, makeKey, restrictUsages, usageSet } from "./key.ts";
import { requireUsages } from "./secrets.ts";

const SIGN = usageSet("sign");
const VERIFY = usageSet("verify");
const DERIVE = usageSet("deriveKey", "deriveBits");
const SEAL = usageSet("encrypt", "wrapKey");
const OPEN = usageSet("decrypt", "unwrapKey");

type Shape = "RSA" | "EC" | "OKP";

/** The type of the algorithm's keys, as JSON Web Keys call it. */
function shapeOf(name: string): Shape {
  if (name === "ECDSA" || name === "ECDH") return "EC";
  return name === "Ed25519" || name === "X25519" ? "OKP" : "RSA";
}

/** The usages of the private half, or of the public one. */
function usagesOf(name: string, isPrivate: boolean): number {
  if (name === "ECDH" || name === "X25519") return isPrivate ? DERIVE : 0;
  if (name === "RSA-OAEP") return isPrivate ? OPEN : SEAL;
  return isPrivate ? SIGN : VERIFY;
}

/** What the host calls the key. */
function kindOf({ name, namedCurve }: Parameters): string {
  const shape = shapeOf(name);
  if (shape === "RSA") return shape;
  if (shape === "OKP") return name;
  if (namedCurve !== "P-256" && namedCurve !== "P-384" && namedCurve !== "P-521") {
    throw notSupported("The curve must be P-256, P-384 or P-521.");
  }
  return namedCurve;
}

function describe({ name, hash, namedCurve }: Parameters, handle: Handle): KeyAlgorithm {
  if (shapeOf(name) !== "RSA") return { __proto__: null, name, namedCurve } as KeyAlgorithm;
  const info = ops.keyInfo(handle);
  const modulusLength = info[2];
  return { __proto__: null, name, hash, modulusLength, publicExponent: info[3] } as KeyAlgorithm;
}

/** Throws for RSA keys that are not generated here: too small, too large, or with an exponent nobody uses. */
function checkNumbers(bits: number, exponent: Uint8Array<ArrayBuffer>): void {
  if (bits < 1024 || bits > 8192 || bits % 8 !== 0) {
    throw operationError("RSA keys are generated with 1024 to 8192 bits, a multiple of 8.");
  }
  let value = 0;
  for (let i = 0; i < TypedArrayPrototypeGetByteLength(exponent); i++) value = value * 256 + exponent[i]!;
  if (value !== 3 && value !== 17 && value !== 65537) {
    throw operationError("RSA keys are generated with the public exponent 65537, 17 or 3.");
  }
}

export interface Pair {
  publicKey: CryptoKey;
  privateKey: CryptoKey;
}

export async function generatePair(parameters: Parameters, extractable: boolean, usages: number): Promise<Pair> {
  const { name, modulusLength, publicExponent } = parameters;
  const forPublic = usagesOf(name, false);
  const forPrivate = usagesOf(name, true);
  restrictUsages(usages, forPublic | forPrivate, name);
  const kind = kindOf(parameters);
  if (kind === "RSA") checkNumbers(modulusLength!, publicExponent!);
  requireUsages(usages & forPrivate);
  const answer = ops.keyGenerate(kind, modulusLength ?? 0, publicExponent, false);
  const handle = (await settle(answer)).value;
  const algorithm = describe(parameters, handle);
  return {
    publicKey: makeKey(check(ops.keyPublic(handle)), "public", true, algorithm, usages & forPublic),
    privateKey: makeKey(handle, "private", extractable, algorithm, usages & forPrivate),
  };
}

export function importPair(
  format: string,
  data: Bytes | Jwk,
  parameters: Parameters,
  extractable: boolean,
  usages: number,
): CryptoKey {
  const { name } = parameters;
  let isPrivate = format === "pkcs8";
  let handle: Handle;
  if (format === "jwk") {
    isPrivate = (data as Jwk).d !== undefined;
    restrictUsages(usages, usagesOf(name, isPrivate), name);
    handle = importJwk(data as Jwk, parameters, extractable, usages);
  } else if (format === "spki" || format === "pkcs8" || (format === "raw" && shapeOf(name) !== "RSA")) {
    restrictUsages(usages, usagesOf(name, isPrivate), name);
    handle = check(ops.keyImport(kindOf(parameters), format, data as Bytes));
  } else {
    throw notSupported(`Keys for ${name} cannot be imported as "${format}".`);
  }
  return makeKey(handle, isPrivate ? "private" : "public", extractable, describe(parameters, handle), usages);
}

function importJwk(jwk: Jwk, parameters: Parameters, extractable: boolean, usages: number): Handle {
  const { name, hash, namedCurve } = parameters;
  const shape = shapeOf(name);
  expect(jwk, "kty", shape);
  const kind = kindOf(parameters);
  if (shape !== "RSA") expect(jwk, "crv", kind);
  const algorithm = algorithmName(name, hash, 0, namedCurve);
  expectAlgorithm(jwk, algorithm, name === "Ed25519" ? "EdDSA" : undefined);
  const forSecrecy = name === "RSA-OAEP" || name === "ECDH" || name === "X25519";
  checkJwk(jwk, forSecrecy ? "enc" : "sig", extractable, usages);
  if (shape === "RSA") {
    if (jwk.oth !== undefined) throw notSupported("RSA keys of more than two primes are not supported.");
    if (jwk.n === undefined || jwk.e === undefined) throw dataError("The JSON Web Key lacks its members n and e.");
    return check(ops.keyImportJwk(kind, jwk.n, jwk.e, jwk.d, jwk.p, jwk.q, jwk.dp, jwk.dq, jwk.qi));
  }
  if (jwk.x === undefined) throw dataError(`The JSON Web Key lacks its member "x".`);
  if (jwk.d === "") throw dataError(`The JSON Web Key's member "d" is empty.`);
  if (shape === "OKP") return check(ops.keyImportJwk(kind, jwk.x, jwk.d));
  if (jwk.y === undefined) throw dataError(`The JSON Web Key lacks its member "y".`);
  return check(ops.keyImportJwk(kind, jwk.x, jwk.y, jwk.d));
}

const RSA_MEMBERS = ["n", "e", "d", "p", "q", "dp", "dq", "qi"];
const EC_MEMBERS = ["x", "y", "d"];
const OKP_MEMBERS = ["x", "d"];

export function exportPair(format: string, key: Inner): object {
  const shape = shapeOf(key.algorithm.name);
  if (format === "jwk") {
    const names = shape === "RSA" ? RSA_MEMBERS : shape === "EC" ? EC_MEMBERS : OKP_MEMBERS;
    return writeJwk(key, shape, names, check(ops.keyExportJwk(key.handle)));
  }
  if (format !== "spki" && format !== "pkcs8" && (format !== "raw" || shape === "RSA")) {
    throw notSupported(`Keys for ${key.algorithm.name} cannot be exported as "${format}".`);
  }
  const wanted = format === "pkcs8" ? "private" : "public";
  if (key.type !== wanted) throw accessError(`Only a ${wanted} key can be exported as "${format}".`);
  return check(ops.keyExport(key.handle, format as "spki"));
}
