/** Which algorithms there are for which operation, and their parameters (the standard's section 18, normalisation). */
import {
  ObjectCreate,
  ObjectKeys,
  StringPrototypeCharCodeAt,
  StringPrototypeSlice,
  StringPrototypeToUpperCase,
} from "../internal/primordials.ts";
import { isObject, type Source, toBigInteger, toBytes, toInteger, toText } from "./convert.ts";
import { notSupported } from "./errors.ts";
import { type Inner, toKey } from "./key.ts";

/** An algorithm with its parameters, those that it has. */
export interface Parameters {
  name: string;
  additionalData?: Uint8Array<ArrayBuffer>;
  counter?: Uint8Array<ArrayBuffer>;
  hash?: string;
  info?: Uint8Array<ArrayBuffer>;
  iterations?: number;
  iv?: Uint8Array<ArrayBuffer>;
  label?: Uint8Array<ArrayBuffer>;
  length?: number;
  modulusLength?: number;
  namedCurve?: string;
  public?: Inner;
  publicExponent?: Uint8Array<ArrayBuffer>;
  salt?: Uint8Array<ArrayBuffer>;
  saltLength?: number;
  tagLength?: number;
}

/** Reads the members of a dictionary into parameters, in WebIDL's order. */
type Read = (source: Source, out: Parameters) => void;

const OCTET = 0xff;
const SHORT = 0xffff;
const LONG = 0xffff_ffff;

function required(source: Source, member: string): unknown {
  const value = source[member];
  if (value === undefined) throw new TypeError(`The algorithm lacks the parameter "${member}".`);
  return value;
}

const none: Read = () => {};
const hash: Read = (source, out) => {
  out.hash = normalize(required(source, "hash"), "hash").name;
};
const rsaGeneration: Read = (source, out) => {
  out.modulusLength = toInteger(required(source, "modulusLength"), LONG, "modulusLength");
  out.publicExponent = toBigInteger(required(source, "publicExponent"), "publicExponent");
  hash(source, out);
};
const pss: Read = (source, out) => {
  out.saltLength = toInteger(required(source, "saltLength"), LONG, "saltLength");
};
const oaep: Read = (source, out) => {
  const label = source.label;
  if (label !== undefined) out.label = toBytes(label, "label");
};
const curve: Read = (source, out) => {
  out.namedCurve = toText(required(source, "namedCurve"));
};
const peer: Read = (source, out) => {
  out.public = toKey(required(source, "public"), "public");
};
const ctr: Read = (source, out) => {
  out.counter = toBytes(required(source, "counter"), "counter");
  out.length = toInteger(required(source, "length"), OCTET, "length");
};
const cbc: Read = (source, out) => {
  out.iv = toBytes(required(source, "iv"), "iv");
};
const gcm: Read = (source, out) => {
  const additionalData = source.additionalData;
  if (additionalData !== undefined) out.additionalData = toBytes(additionalData, "additionalData");
  out.iv = toBytes(required(source, "iv"), "iv");
  const tagLength = source.tagLength;
  if (tagLength !== undefined) out.tagLength = toInteger(tagLength, OCTET, "tagLength");
};
const aesLength: Read = (source, out) => {
  out.length = toInteger(required(source, "length"), SHORT, "length");
};
const hmac: Read = (source, out) => {
  hash(source, out);
  const length = source.length;
  if (length !== undefined) out.length = toInteger(length, LONG, "length");
};
const hkdf: Read = (source, out) => {
  hash(source, out);
  out.info = toBytes(required(source, "info"), "info");
  out.salt = toBytes(required(source, "salt"), "salt");
};
const pbkdf2: Read = (source, out) => {
  hash(source, out);
  out.iterations = toInteger(required(source, "iterations"), LONG, "iterations");
  out.salt = toBytes(required(source, "salt"), "salt");
};

const hashes: Record<string, Read> = { "SHA-1": none, "SHA-256": none, "SHA-384": none, "SHA-512": none };
const ciphers: Record<string, Read> = { "RSA-OAEP": oaep, "AES-CTR": ctr, "AES-CBC": cbc, "AES-GCM": gcm };
const signatures: Record<string, Read> = {
  "RSASSA-PKCS1-v1_5": none,
  "RSA-PSS": pss,
  ECDSA: hash,
  Ed25519: none,
  HMAC: none,
};
const imported: Record<string, Read> = {
  "RSASSA-PKCS1-v1_5": hash,
  "RSA-PSS": hash,
  "RSA-OAEP": hash,
  ECDSA: curve,
  ECDH: curve,
  Ed25519: none,
  X25519: none,
  "AES-CTR": none,
  "AES-CBC": none,
  "AES-GCM": none,
  "AES-KW": none,
  HMAC: hmac,
  HKDF: none,
  PBKDF2: none,
};
const generated: Record<string, Read> = {
  "RSASSA-PKCS1-v1_5": rsaGeneration,
  "RSA-PSS": rsaGeneration,
  "RSA-OAEP": rsaGeneration,
  ECDSA: curve,
  ECDH: curve,
  Ed25519: none,
  X25519: none,
  "AES-CTR": aesLength,
  "AES-CBC": aesLength,
  "AES-GCM": aesLength,
  "AES-KW": aesLength,
  HMAC: hmac,
};
const lengths: Record<string, Read> = {
  "AES-CTR": aesLength,
  "AES-CBC": aesLength,
  "AES-GCM": aesLength,
  "AES-KW": aesLength,
  HMAC: hmac,
  HKDF: none,
  PBKDF2: none,
};

/** By operation; names in upper case lead to the name as the standard writes it and to what reads the parameters. */
const tables = {
  __proto__: null,
  // MD5 as Cloudflare's runtime has it, for digests alone.
  digest: table({ ...hashes, MD5: none }),
  hash: table(hashes),
  encrypt: table(ciphers),
  sign: table(signatures),
  generateKey: table(generated),
  importKey: table(imported),
  deriveBits: table({ ECDH: peer, X25519: peer, HKDF: hkdf, PBKDF2: pbkdf2 }),
  wrapKey: table({ "AES-KW": none }),
  length: table(lengths),
};

export type Operation = Exclude<keyof typeof tables, "__proto__">;

interface Entry {
  name: string;
  read: Read;
}

function table(readers: Record<string, Read>): Record<string, Entry> {
  const entries = ObjectCreate(null) as Record<string, Entry>;
  const names = ObjectKeys(readers);
  for (let i = 0; i < names.length; i++) {
    const name = names[i]!;
    entries[StringPrototypeToUpperCase(name)] = { name, read: readers[name]! };
  }
  return entries;
}

/** The entry of that name, compared without the case of ASCII letters. */
function find(name: string, operation: Operation): Entry | undefined {
  for (let i = 0; i < name.length; i++) {
    // Letters such as the Kelvin sign have an ASCII counterpart.
    if (StringPrototypeCharCodeAt(name, i) > 127) return undefined;
  }
  return tables[operation][StringPrototypeToUpperCase(name)];
}

/** An `AlgorithmIdentifier` for an operation. */
export function normalize(algorithm: unknown, operation: Operation): Parameters {
  const source: Source = isObject(algorithm) ? algorithm : { __proto__: null, name: toText(algorithm) };
  const name = toText(required(source, "name"));
  const entry = find(name, operation);
  if (entry === undefined) {
    throw notSupported(`The algorithm "${StringPrototypeSlice(name, 0, 60)}" is not supported for this operation.`);
  }
  const out = { __proto__: null, name: entry.name } as unknown as Parameters;
  entry.read(source, out);
  return out;
}
