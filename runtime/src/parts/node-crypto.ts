/** `node:crypto` on the host's cryptography. */
import { Crypto } from "../crypto.ts";
import { unsupported } from "../internal/node-errors.ts";
import { loadPart } from "../internal/parts.ts";
import * as cipher from "../node/crypto/cipher.ts";
import * as derive from "../node/crypto/derive.ts";
import * as hash from "../node/crypto/hash.ts";
import * as keys from "../node/crypto/keys.ts";
import * as random from "../node/crypto/random.ts";
import * as signing from "../node/crypto/sign.ts";

const webcrypto = (globalThis as unknown as { crypto: Crypto }).crypto;

/** What OpenSSL has and the host has not, for good reasons. */
const refuse = (name: string, instead: string) => () => {
  throw unsupported(`crypto.${name}()`, instead);
};

const crypto = {
  createCipheriv: cipher.createCipheriv, createDecipheriv: cipher.createDecipheriv, getCiphers: cipher.getCiphers,
  Cipheriv: cipher.Cipheriv, Decipheriv: cipher.Decipheriv,
  pbkdf2: derive.pbkdf2, pbkdf2Sync: derive.pbkdf2Sync, scrypt: derive.scrypt, scryptSync: derive.scryptSync,
  hkdf: derive.hkdf, hkdfSync: derive.hkdfSync,
  createHash: hash.createHash, createHmac: hash.createHmac, getHashes: hash.getHashes, hash: hash.hash, Hash: hash.Hash, Hmac: hash.Hmac,
  KeyObject: keys.KeyObject, createSecretKey: keys.createSecretKey, createPrivateKey: keys.createPrivateKey, createPublicKey: keys.createPublicKey,
  generateKeyPair: keys.generateKeyPair, generateKeyPairSync: keys.generateKeyPairSync, generateKey: keys.generateKey, generateKeySync: keys.generateKeySync,
  randomBytes: random.randomBytes, pseudoRandomBytes: random.randomBytes, rng: random.randomBytes, prng: random.randomBytes,
  randomFill: random.randomFill, randomFillSync: random.randomFillSync, randomInt: random.randomInt, timingSafeEqual: random.timingSafeEqual,
  sign: signing.sign, verify: signing.verify, createSign: signing.createSign, createVerify: signing.createVerify, Sign: signing.Sign, Verify: signing.Verify,
  publicEncrypt: signing.publicEncrypt, privateDecrypt: signing.privateDecrypt, diffieHellman: signing.diffieHellman,
  createECDH: signing.createECDH, ECDH: signing.ECDH, constants: signing.constants,
  getCurves: () => ["prime256v1", "secp384r1", "secp521r1"],
  getFips: () => 0,
  randomUUID: () => webcrypto.randomUUID(),
  getRandomValues: (array: ArrayBufferView) => webcrypto.getRandomValues(array),
  webcrypto,
  get subtle() {
    return loadPart<{ subtle: object }>("crypto").subtle;
  },
  createDiffieHellman: refuse("createDiffieHellman", "use createECDH(), or X25519 with diffieHellman()"),
  getDiffieHellman: refuse("getDiffieHellman", "use createECDH(), or X25519 with diffieHellman()"),
  privateEncrypt: refuse("privateEncrypt", "use sign()"),
  publicDecrypt: refuse("publicDecrypt", "use verify()"),
};

export const modules = { "node:crypto": crypto };
