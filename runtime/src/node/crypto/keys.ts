/** `KeyObject`: keys of the host's, from PEM, DER and JSON Web Keys and back. */
import { Buffer } from "node:buffer";
import { checkFunction, coded, unsupported, wrongType } from "../../internal/node-errors.ts";
import { jobResult } from "../../internal/jobs.ts";
import { loadPart } from "../../internal/parts.ts";
import { ticks } from "../../internal/node-ticks.ts";
import type { Answer, Handle } from "../../ops.d.ts";
import * as ops from "../../host.ts";
import { type Callback, bytesOf, done, encoded, failure, later, viewed, whole } from "./values.ts";

type Type = "secret" | "private" | "public";
type Jwk = Record<string, string | undefined>;

export interface Encoding {
  type?: string; format?: string; cipher?: string; passphrase?: unknown; encoding?: string; key?: unknown;
}

/** Node's names of elliptic curves, and the host's. */
const CURVES: Record<string, string> = {
  "P-256": "P-256", prime256v1: "P-256", secp256r1: "P-256", "P-384": "P-384", secp384r1: "P-384", "P-521": "P-521", secp521r1: "P-521",
};
const NODE_CURVES: Record<string, string> = { "P-256": "prime256v1", "P-384": "secp384r1", "P-521": "secp521r1" };
const RSA_MEMBERS = ["n", "e", "d", "p", "q", "dp", "dq", "qi"];

const wrongValue = (name: string, why: string) => coded(new TypeError(`The property '${name}' is invalid. ${why}`), "ERR_INVALID_ARG_VALUE");
const checked = (handle: Handle | string): Handle => done(handle as Answer<Handle>, "ERR_OSSL_UNSUPPORTED");

export class KeyObject {
  #handle: Handle;
  #type: Type;

  constructor(type: unknown, handle: unknown) {
    if (type !== "secret" && type !== "private" && type !== "public") {
      throw coded(new TypeError(`The argument 'type' is invalid. Received ${String(type)}`), "ERR_INVALID_ARG_VALUE");
    }
    if (typeof handle !== "object" || handle === null) throw wrongType("handle", "of type object", handle);
    this.#handle = handle as Handle;
    this.#type = type;
  }
  static is(value: unknown): value is KeyObject {
    return typeof value === "object" && value !== null && #handle in value;
  }
  static handle(key: KeyObject): Handle {
    return key.#handle;
  }
  /** The `KeyObject` of a `CryptoKey`. */
  static from(key: unknown): KeyObject {
    const { toKey } = loadPart<{ toKey(value: unknown, what: string): { handle: Handle; type: Type; extractable: boolean } }>("crypto");
    const inner = toKey(key, "key");
    if (!inner.extractable) throw coded(new TypeError("The CryptoKey is not extractable."), "ERR_CRYPTO_INVALID_KEY_OBJECT_TYPE");
    return new KeyObject(inner.type, inner.handle);
  }
  get type(): Type {
    return this.#type;
  }
  get symmetricKeySize(): number | undefined {
    return this.#type === "secret" ? ops.keyInfo(this.#handle)[2] / 8 : undefined;
  }
  get asymmetricKeyType(): string | undefined {
    if (this.#type === "secret") return undefined;
    const [kind] = ops.keyInfo(this.#handle);
    return kind.startsWith("P-") ? "ec" : kind.toLowerCase();
  }
  get asymmetricKeyDetails(): object | undefined {
    if (this.#type === "secret") return undefined;
    const [kind, , bits, exponent] = ops.keyInfo(this.#handle);
    if (kind === "RSA") return { modulusLength: bits, publicExponent: BigInt(`0x${Buffer.from(exponent!).toString("hex")}`) };
    return kind in NODE_CURVES ? { namedCurve: NODE_CURVES[kind] } : {};
  }
  equals(other: unknown): boolean {
    if (!KeyObject.is(other)) throw wrongType("otherKeyObject", "an instance of KeyObject", other);
    if (other.#type !== this.#type || ops.keyInfo(this.#handle)[0] !== ops.keyInfo(other.#handle)[0]) return false;
    const format = this.#type === "secret" ? "raw" : this.#type === "private" ? "pkcs8" : "spki";
    const [one, two] = [done(ops.keyExport(this.#handle, format)), done(ops.keyExport(other.#handle, format))];
    return one.byteLength === two.byteLength && ops.bytesEqual(one, two);
  }
  export(options: Encoding = {}): any {
    if (options.format === "jwk") return toJwk(this.#handle, this.#type);
    if (this.#type === "secret") return encoded(done(ops.keyExport(this.#handle, "raw")), undefined);
    if (options.cipher !== undefined || options.passphrase !== undefined) {
      throw unsupported("Encrypting a key with a passphrase", "export it plain and encrypt it with createCipheriv()");
    }
    const { type, format } = options;
    const isPrivate = this.#type === "private";
    const [kind] = ops.keyInfo(this.#handle);
    const fits = type === (isPrivate ? "pkcs8" : "spki") || (type === "pkcs1" && kind === "RSA");
    if (type === "sec1" && isPrivate) throw unsupported("Exporting a key as SEC 1", 'use the type "pkcs8"');
    if (!fits) throw wrongValue("options.type", `A ${this.#type} key of this kind is exported as ${isPrivate ? "'pkcs8'" : "'spki'"}.`);
    if (format !== "pem" && format !== "der") throw wrongValue("options.format", `It is 'pem', 'der' or 'jwk'. Received ${String(format)}`);
    const der: ArrayBuffer = done(ops.keyExport(this.#handle, isPrivate ? "pkcs8" : "spki"));
    if (type !== "pkcs1") return format === "der" ? encoded(der, undefined) : Buffer.from(done(ops.keyExport(this.#handle, "pem"))).toString();
    const bare = pkcs1(new Uint8Array(der), isPrivate);
    if (format === "der") return Buffer.from(bare);
    const label = isPrivate ? "RSA PRIVATE KEY" : "RSA PUBLIC KEY";
    return `-----BEGIN ${label}-----\n${Buffer.from(bare).toString("base64").replace(/.{1,64}/g, "$&\n")}-----END ${label}-----\n`;
  }
}
Object.defineProperty(KeyObject.prototype, Symbol.toStringTag, { value: "KeyObject", configurable: true });

/** The PKCS #1 form is the last element of PKCS #8 (RFC 5208 section 5) and SPKI (RFC 5280 section 4.1): an octet or bit string. */
function pkcs1(der: Uint8Array, isPrivate: boolean): Uint8Array {
  const content = (at: number): [number, number] => {
    const first = der[at + 1]!;
    if (first < 128) return [at + 2, first];
    let length = 0;
    for (let i = 0; i < (first & 127); i++) length = length * 256 + der[at + 2 + i]!;
    return [at + 2 + (first & 127), length];
  };
  let [at] = content(0);
  for (let skip = isPrivate ? 2 : 1; skip > 0; skip--) {
    const [from, length] = content(at);
    at = from + length;
  }
  const [from, length] = content(at);
  return der.subarray(isPrivate ? from : from + 1, from + length);
}

function toJwk(handle: Handle, type: Type): Jwk {
  const [kind] = ops.keyInfo(handle);
  const members = done(ops.keyExportJwk(handle) as Answer<string[]>);
  if (type === "secret") return { kty: "oct", k: members[0] };
  const jwk: Jwk = { kty: kind === "RSA" ? "RSA" : kind.startsWith("P-") ? "EC" : "OKP" };
  if (kind !== "RSA") jwk.crv = kind;
  const names = kind === "RSA" ? RSA_MEMBERS : kind.startsWith("P-") ? ["x", "y", "d"] : ["x", "d"];
  members.forEach((member, at) => (jwk[names[at]!] = member));
  return jwk;
}

function fromJwk(value: unknown, type: Type): Handle {
  if (typeof value !== "object" || value === null) throw wrongType("key.key", "of type object", value);
  const jwk = value as Jwk;
  const last = (name: string) => (type === "private" ? jwk[name] : undefined);
  if (type === "private" && jwk.d === undefined) throw coded(new TypeError("Invalid JWK data"), "ERR_CRYPTO_INVALID_JWK");
  if (jwk.kty === "RSA") return checked(ops.keyImportJwk("RSA", ...RSA_MEMBERS.map((name, at) => (at < 2 ? jwk[name] : last(name)))));
  if (jwk.kty === "EC" && jwk.crv! in NODE_CURVES) return checked(ops.keyImportJwk(jwk.crv!, jwk.x, jwk.y, last("d")));
  if (jwk.kty === "OKP" && (jwk.crv === "Ed25519" || jwk.crv === "X25519")) return checked(ops.keyImportJwk(jwk.crv, jwk.x, last("d")));
  throw coded(new TypeError("Invalid JWK data"), "ERR_CRYPTO_INVALID_JWK");
}

export function secretBytes(key: KeyObject): ArrayBuffer {
  if (key.type !== "secret") throw coded(new TypeError(`Invalid key object type ${key.type}, expected secret.`), "ERR_CRYPTO_INVALID_KEY_OBJECT_TYPE");
  return done(ops.keyExport(KeyObject.handle(key), "raw"));
}

export function createSecretKey(key: unknown, encoding?: unknown): KeyObject {
  if (typeof key !== "string" && viewed(key) === undefined) {
    throw wrongType("key", "an instance of ArrayBuffer, Buffer, TypedArray, or DataView", key);
  }
  return new KeyObject("secret", checked(ops.keyImport("secret", "raw", bytesOf(key, "key", encoding))));
}

/** Reads whatever users give as a key; a private key may stand for its public half. */
function read(given: unknown, type: "private" | "public"): KeyObject {
  let options: Encoding = {};
  let key = given;
  if (typeof given === "object" && given !== null && !KeyObject.is(given) && viewed(given) === undefined && "key" in given) {
    options = given as Encoding;
    key = options.key;
  }
  let handle: Handle;
  if ((key as { [Symbol.toStringTag]?: unknown } | undefined)?.[Symbol.toStringTag] === "CryptoKey") key = KeyObject.from(key);
  if (KeyObject.is(key)) {
    if (key.type === "secret" || (type === "private" && key.type !== "private")) {
      throw coded(new TypeError(`Invalid key object type ${key.type}, expected ${type}.`), "ERR_CRYPTO_INVALID_KEY_OBJECT_TYPE");
    }
    handle = KeyObject.handle(key);
  } else if (options.format === "jwk") {
    handle = fromJwk(key, type);
  } else {
    if (typeof key !== "string" && viewed(key) === undefined) {
      throw wrongType("key", "of type string or an instance of ArrayBuffer, Buffer, TypedArray, DataView, KeyObject, or CryptoKey", given);
    }
    if (options.passphrase !== undefined && String(encoded(bytesOf(key, "key"), "latin1")).includes("ENCRYPTED")) {
      throw unsupported("Reading a key with a passphrase", "store it plain as a secret of the worker");
    }
    handle = checked(ops.keyImport("", "any", bytesOf(key, "key", options.encoding)));
  }
  const isPrivate = ops.keyInfo(handle)[1];
  if (type === "private") {
    if (!isPrivate) throw coded(new Error("error:1E08010C:DECODER routines::unsupported"), "ERR_OSSL_UNSUPPORTED");
    return new KeyObject("private", handle);
  }
  return new KeyObject("public", isPrivate ? checked(ops.keyPublic(handle)) : handle);
}

export const createPrivateKey = (key: unknown) => read(key, "private");
export const createPublicKey = (key: unknown) => read(key, "public");

interface PairOptions {
  modulusLength?: number; publicExponent?: number; namedCurve?: string; publicKeyEncoding?: Encoding; privateKeyEncoding?: Encoding;
}

function startPair(type: unknown, options: PairOptions = {}, sync: boolean): Answer<Handle> {
  if (type === "rsa" || type === "rsa-pss") {
    const bits = whole(options.modulusLength, "options.modulusLength", 0, 2 ** 32 - 1);
    const hex = whole(options.publicExponent ?? 65537, "options.publicExponent", 0, 2 ** 32 - 1).toString(16);
    return ops.keyGenerate("RSA", bits, Buffer.from(hex.length % 2 ? `0${hex}` : hex, "hex"), sync);
  }
  if (type === "ed25519" || type === "x25519") return ops.keyGenerate(type === "ed25519" ? "Ed25519" : "X25519", 0, undefined, sync);
  if (type === "ec") return ops.keyGenerate(curve(options.namedCurve, "options.namedCurve"), 0, undefined, sync);
  throw coded(new TypeError(`The argument 'type' must be a supported key type. Received '${String(type)}'`), "ERR_INVALID_ARG_VALUE");
}

/** The host's name of a curve. */
export function curve(name: unknown, what: string): string {
  if (typeof name !== "string") throw wrongType(what, "of type string", name);
  if (!Object.hasOwn(CURVES, name)) throw coded(new TypeError("Invalid EC curve name"), "ERR_CRYPTO_INVALID_CURVE");
  return CURVES[name]!;
}

function pair(handle: Handle, options: PairOptions = {}): [unknown, unknown] {
  const isPublic = new KeyObject("public", checked(ops.keyPublic(handle)));
  const isPrivate = new KeyObject("private", handle);
  const { publicKeyEncoding, privateKeyEncoding } = options;
  return [publicKeyEncoding ? isPublic.export(publicKeyEncoding) : isPublic, privateKeyEncoding ? isPrivate.export(privateKeyEncoding) : isPrivate];
}

export function generateKeyPairSync(type: unknown, options?: PairOptions): object {
  const [publicKey, privateKey] = pair(done(startPair(type, options, true)), options);
  return { publicKey, privateKey };
}

export function generateKeyPair(type: unknown, options: PairOptions | Callback, callback?: Callback): void {
  const tell = typeof options === "function" ? options : callback;
  const given = typeof options === "function" ? {} : options;
  checkFunction(tell, "callback");
  later(startPair(type, given, false), tell, (handle) => pair(handle, given));
}
Object.defineProperty(generateKeyPair, Symbol.for("nodejs.util.promisify.custom"), {
  value: async (type: unknown, options?: PairOptions) => {
    const answer = startPair(type, options, false);
    const result = typeof answer === "number" ? (await jobResult<Handle | string>(answer)).value : answer;
    if (typeof result === "string") throw failure(result);
    const [publicKey, privateKey] = pair(result, options);
    return { publicKey, privateKey };
  },
});

export function generateKeySync(type: unknown, options: { length?: unknown }): KeyObject {
  if (type !== "hmac" && type !== "aes") throw coded(new TypeError(`The argument 'type' must be a supported key type. Received '${String(type)}'`), "ERR_INVALID_ARG_VALUE");
  const bits = whole(options?.length, "options.length", type === "hmac" ? 8 : 128, type === "hmac" ? 2 ** 16 : 256);
  if (type === "aes" && bits % 64 !== 0) throw wrongValue("options.length", "It is 128, 192 or 256.");
  return new KeyObject("secret", done(ops.keyGenerate("secret", bits - (bits % 8), undefined, true)));
}

export function generateKey(type: unknown, options: { length?: unknown }, callback: Callback): void {
  checkFunction(callback, "callback");
  ticks().add(callback, [null, generateKeySync(type, options)]);
}
