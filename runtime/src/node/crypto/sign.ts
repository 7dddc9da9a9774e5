/** Signatures, RSA encryption, and secrets of two key pairs. */
import { Buffer } from "node:buffer";
import { Writable } from "node:stream";
import { coded, unsupported, wrongType } from "../../internal/node-errors.ts";
import type { Answer, Handle } from "../../ops.d.ts";
import * as ops from "../../host.ts";
import { KeyObject, createPrivateKey, createPublicKey, curve } from "./keys.ts";
import { type Callback, DIGESTS, MESSAGE_MAX, bytesOf, checkDigest, digestName, done, encoded, later } from "./values.ts";

export const constants = {
  RSA_PKCS1_PADDING: 1, RSA_NO_PADDING: 3, RSA_PKCS1_OAEP_PADDING: 4, RSA_PKCS1_PSS_PADDING: 6,
  RSA_PSS_SALTLEN_DIGEST: -1, RSA_PSS_SALTLEN_AUTO: -2, RSA_PSS_SALTLEN_MAX_SIGN: -2,
};

interface Options {
  padding?: number; saltLength?: number; dsaEncoding?: string; oaepHash?: string; oaepLabel?: unknown;
}
const optionsOf = (key: unknown): Options => (typeof key === "object" && key !== null && !KeyObject.is(key) ? (key as Options) : {});

/** Scheme, hash and, for PSS, the salt's possible lengths. */
function scheme(handle: Handle, algorithm: unknown, options: Options, signing: boolean): [string, string | undefined, number[]] {
  const [kind, , bits] = ops.keyInfo(handle);
  if (kind === "Ed25519") return ["Ed25519", undefined, [0]];
  const hash = algorithm === null || algorithm === undefined ? "sha256" : checkDigest(algorithm, "algorithm");
  if (kind.startsWith("P-")) return [options.dsaEncoding === "ieee-p1363" ? "ECDSA" : "ECDSA-DER", hash, [0]];
  if (kind !== "RSA") throw coded(new Error("operation not supported for this keytype"), "ERR_OSSL_EVP_OPERATION_NOT_SUPPORTED_FOR_THIS_KEYTYPE");
  const padding = options.padding ?? constants.RSA_PKCS1_PADDING;
  if (padding === constants.RSA_PKCS1_PADDING) return ["RSASSA-PKCS1-v1_5", hash, [0]];
  if (padding !== constants.RSA_PKCS1_PSS_PADDING) throw unsupported("This padding of RSA signatures", "use RSA_PKCS1_PADDING or RSA_PKCS1_PSS_PADDING");
  const length = DIGESTS[hash]!;
  const most = Math.ceil((bits - 1) / 8) - length - 2;
  const salt = options.saltLength ?? constants.RSA_PSS_SALTLEN_AUTO;
  if (salt === constants.RSA_PSS_SALTLEN_DIGEST) return ["RSA-PSS", hash, [length]];
  if (salt !== constants.RSA_PSS_SALTLEN_AUTO) return ["RSA-PSS", hash, [salt]];
  // The host wants to be told the length, so these are tried: the usual one, the longest, none.
  return ["RSA-PSS", hash, signing ? [most] : [length, most, 0]];
}

function startSign(algorithm: unknown, data: Uint8Array, key: unknown, sync: boolean): Answer<ArrayBuffer> {
  const handle = KeyObject.handle(createPrivateKey(key));
  const [name, hash, salts] = scheme(handle, algorithm, optionsOf(key), true);
  return ops.keySign(handle, name, hash, salts[0]!, data, sync);
}

export function sign(algorithm: unknown, data: unknown, key: unknown, callback?: Callback): unknown {
  const bytes = bytesOf(data, "data");
  if (callback === undefined) return encoded(done(startSign(algorithm, bytes, key, true)), undefined);
  return later(startSign(algorithm, bytes, key, false), callback, (signature) => [encoded(signature, undefined)]);
}

function verifies(algorithm: unknown, data: Uint8Array, key: unknown, signature: Uint8Array): boolean {
  const handle = KeyObject.handle(createPublicKey(key));
  const [name, hash, salts] = scheme(handle, algorithm, optionsOf(key), false);
  return salts.some((salt) => done(ops.keyVerify(handle, name, hash, salt, data, signature, true)));
}

export function verify(algorithm: unknown, data: unknown, key: unknown, signature: unknown, callback?: Callback): unknown {
  const good = verifies(algorithm, bytesOf(data, "data"), key, bytesOf(signature, "signature"));
  return callback === undefined ? good : later<ArrayBuffer>(new ArrayBuffer(0), callback, () => [good]);
}

/** Keeps the message, which the host takes whole. */
class Message extends (Writable as new (options?: object) => any) {
  #algorithm: string;
  #chunks: Uint8Array[] = [];
  #length = 0;

  constructor(algorithm: unknown, options?: object) {
    if (typeof algorithm !== "string") throw wrongType("algorithm", "of type string", algorithm);
    if (digestName(algorithm) === undefined) throw coded(new TypeError("Invalid digest"), "ERR_CRYPTO_INVALID_DIGEST");
    super(options);
    this.#algorithm = algorithm;
  }
  _write(chunk: unknown, encoding: string, callback: (error?: unknown) => void): void {
    this.update(chunk, encoding);
    callback();
  }
  update(data: unknown, encoding?: unknown): this {
    const bytes = bytesOf(data, "data", encoding);
    this.#length += bytes.length;
    if (this.#length > MESSAGE_MAX) throw coded(new RangeError(`At most ${MESSAGE_MAX} bytes can be signed`), "ERR_OUT_OF_RANGE");
    this.#chunks.push(bytes.slice());
    return this;
  }
  sign(key: unknown, encoding?: unknown): unknown {
    return encoded(done(startSign(this.#algorithm, Buffer.concat(this.#chunks), key, true)), encoding);
  }
  verify(key: unknown, signature: unknown, encoding?: unknown): boolean {
    return verifies(this.#algorithm, Buffer.concat(this.#chunks), key, bytesOf(signature, "signature", encoding));
  }
}
export class Sign extends Message {
  declare verify: never;
}
export class Verify extends Message {
  declare sign: never;
}
Object.defineProperty(Sign.prototype, "verify", { value: undefined, configurable: true });
Object.defineProperty(Verify.prototype, "sign", { value: undefined, configurable: true });
export const createSign = (algorithm: unknown, options?: object) => new Sign(algorithm, options);
export const createVerify = (algorithm: unknown, options?: object) => new Verify(algorithm, options);

function rsa(key: unknown, data: unknown, encrypt: boolean): unknown {
  const options = optionsOf(key);
  if ((options.padding ?? constants.RSA_PKCS1_OAEP_PADDING) !== constants.RSA_PKCS1_OAEP_PADDING) {
    throw unsupported("This padding of RSA encryption", "use RSA_PKCS1_OAEP_PADDING, which is safe");
  }
  const handle = KeyObject.handle(encrypt ? createPublicKey(key) : createPrivateKey(key));
  const label = options.oaepLabel === undefined ? undefined : bytesOf(options.oaepLabel, "key.oaepLabel");
  const hash = checkDigest(options.oaepHash ?? "sha1", "key.oaepHash");
  const bytes = bytesOf(data, "buffer");
  return encoded(done(ops.keyCrypt(handle, encrypt, "RSA-OAEP", label, undefined, hash, bytes, true), "ERR_OSSL_RSA_OAEP_DECODING_ERROR"), undefined);
}
export const publicEncrypt = (key: unknown, data: unknown) => rsa(key, data, true);
export const privateDecrypt = (key: unknown, data: unknown) => rsa(key, data, false);

export function diffieHellman({ privateKey, publicKey }: { privateKey: unknown; publicKey: unknown }): unknown {
  return encoded(done(ops.keyAgree(KeyObject.handle(createPrivateKey(privateKey)), KeyObject.handle(createPublicKey(publicKey)))), undefined);
}

class ECDH {
  #curve: string;
  #key: Handle | undefined;

  constructor(name: unknown) {
    this.#curve = curve(name, "curve");
  }
  #own(): Handle {
    if (this.#key === undefined) throw coded(new Error("Failed to get ECDH public key"), "ERR_CRYPTO_ECDH_INVALID_KEY_PAIR");
    return this.#key;
  }
  generateKeys(encoding?: unknown, format?: unknown): unknown {
    this.#key = done(ops.keyGenerate(this.#curve, 0, undefined, true));
    return this.getPublicKey(encoding, format);
  }
  computeSecret(other: unknown, inEncoding?: unknown, outEncoding?: unknown): unknown {
    const peer = done(ops.keyImport(this.#curve, "raw", bytesOf(other, "otherPublicKey", inEncoding)) as Answer<Handle>, "ERR_CRYPTO_ECDH_INVALID_PUBLIC_KEY");
    return encoded(done(ops.keyAgree(this.#own(), peer)), outEncoding);
  }
  getPublicKey(encoding?: unknown, format?: unknown): unknown {
    if (format !== undefined && format !== "uncompressed") throw unsupported("A compressed point", "leave the format out");
    return encoded(done(ops.keyExport(this.#own(), "raw")), encoding);
  }
  getPrivateKey(encoding?: unknown): unknown {
    return encoded(Buffer.from(done(ops.keyExportJwk(this.#own()) as Answer<string[]>)[2], "base64url"), encoding);
  }
  setPrivateKey(key: unknown, encoding?: unknown): this {
    this.#key = done(ops.keyImport(this.#curve, "number", bytesOf(key, "privateKey", encoding)) as Answer<Handle>, "ERR_CRYPTO_INVALID_KEYTYPE");
    return this;
  }
}
export { ECDH };
export const createECDH = (name: unknown) => new ECDH(name);
