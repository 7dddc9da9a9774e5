/** What is done with keys once they were found to be the right ones. */
import type { Result } from "../internal/jobs.ts";
import { NativeUint8Array, TypedArrayPrototypeGetBuffer, TypedArrayPrototypeGetByteLength } from "../internal/primordials.ts";
import * as ops from "../host.ts";
import type { Answer, Bytes } from "../ops.d.ts";
import type { Parameters } from "./algorithms.ts";
import { accessError, check, operationError, settle } from "./errors.ts";
import type { Inner } from "./key.ts";

/** Encrypts or decrypts, with a key whose algorithm has that name. */
export function crypt(parameters: Parameters, key: Inner, data: Bytes, encrypt: boolean): Answer<ArrayBuffer> {
  const { name, iv, counter, additionalData, label, length, tagLength } = parameters;
  switch (name) {
    case "RSA-OAEP":
      if (key.type !== (encrypt ? "public" : "private")) {
        throw accessError(`The operation takes a ${encrypt ? "public" : "private"} key.`);
      }
      return ops.keyCrypt(key.handle, encrypt, name, label, undefined, key.algorithm.hash, data, false);
    case "AES-GCM":
      return ops.keyCrypt(key.handle, encrypt, name, iv, additionalData, tagLength ?? 128, data, false);
    case "AES-CTR":
      return ops.keyCrypt(key.handle, encrypt, name, counter, undefined, length, data, false);
    case "AES-CBC":
      return ops.keyCrypt(key.handle, encrypt, name, iv, undefined, undefined, data, false);
    default:
      return ops.keyCrypt(key.handle, encrypt, "AES-KW", undefined, undefined, undefined, data, false);
  }
}

/** The hash with which the key signs. */
function hashFor(parameters: Parameters, key: Inner): string | undefined {
  return parameters.name === "ECDSA" ? parameters.hash : key.algorithm.hash;
}

export function sign(parameters: Parameters, key: Inner, data: Bytes): Answer<ArrayBuffer> {
  if (key.type === "public") throw accessError("Only a private or secret key signs.");
  const hash = hashFor(parameters, key);
  return ops.keySign(key.handle, parameters.name, hash, parameters.saltLength ?? 0, data, false);
}

export function verify(parameters: Parameters, key: Inner, signature: Bytes, data: Bytes): Answer<boolean> {
  if (key.type === "private") throw accessError("Only a public or secret key verifies.");
  const hash = hashFor(parameters, key);
  return ops.keyVerify(key.handle, parameters.name, hash, parameters.saltLength ?? 0, data, signature, false);
}

/** So many bits of what the algorithm derives from the key; null means all that there are. */
export function deriveBits(parameters: Parameters, key: Inner, length: number | null): Promise<Result<ArrayBuffer>> {
  const { name, hash, salt, info, iterations } = parameters;
  if (name === "ECDH" || name === "X25519") return settle(agree(parameters.public!, key, length));
  if (length === null || length % 8 !== 0) {
    throw operationError(`The length for ${name} must be given in bits, as a multiple of 8.`);
  }
  if (name === "HKDF") return settle(ops.hkdf(hash!, key.handle, salt!, info!, length / 8));
  return settle(ops.pbkdf2(hash!, key.handle, salt!, iterations!, length / 8, false));
}

function agree(peer: Inner, key: Inner, length: number | null): ArrayBuffer {
  if (key.type !== "private") throw accessError("The base key must be a private key.");
  if (peer.type !== "public") throw accessError(`The parameter "public" must be a public key.`);
  if (peer.algorithm.name !== key.algorithm.name || peer.algorithm.namedCurve !== key.algorithm.namedCurve) {
    throw accessError("The two keys must be of the same algorithm and curve.");
  }
  const secret = check(ops.keyAgree(key.handle, peer.handle));
  if (length === null) return secret;
  const whole = new NativeUint8Array(secret);
  const shared = TypedArrayPrototypeGetByteLength(whole) * 8;
  if (length > shared) throw operationError(`The keys share ${shared} bits, not ${length}.`);
  const size = (length + 7) >> 3;
  const part = new NativeUint8Array(size);
  for (let i = 0; i < size; i++) part[i] = whole[i]!;
  if (length % 8 !== 0) part[size - 1]! &= 0xff << (8 - (length % 8));
  return TypedArrayPrototypeGetBuffer(part);
}
