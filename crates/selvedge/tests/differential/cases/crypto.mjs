import { attempt, bytes, hex, show, text, unhex } from "./show.mjs";

const { subtle } = crypto;
const data = bytes("The quick brown fox");
const raw = (algorithm, usages, key = unhex("000102030405060708090a0b0c0d0e0f")) => subtle.importKey("raw", key, algorithm, true, usages);

export default {
  "digests": show(async () => {
    const out = [];
    for (const name of ["SHA-1", "SHA-256", "SHA-384", "SHA-512", "MD5", "sha-256"]) out.push(hex(await subtle.digest(name, data)));
    return out;
  }),
  "digest-bad": show(async () => [await attempt(() => subtle.digest("SHA-3", data)), await attempt(() => subtle.digest("SHA-1", "text"))]),
  "hmac": show(async () => {
    const key = await raw({ name: "HMAC", hash: "SHA-256" }, ["sign", "verify"]);
    const signature = await subtle.sign("HMAC", key, data);
    return [hex(signature), await subtle.verify("HMAC", key, signature, data), await subtle.verify("HMAC", key, signature, bytes("x"))];
  }),
  "hmac-jwk": show(async () => {
    const key = await raw({ name: "HMAC", hash: "SHA-512" }, ["sign"]);
    return await subtle.exportKey("jwk", key);
  }),
  "hmac-generate": show(async () => {
    const key = await subtle.generateKey({ name: "HMAC", hash: "SHA-384" }, true, ["sign"]);
    return [key.type, key.algorithm, key.extractable, key.usages, (await subtle.exportKey("raw", key)).byteLength];
  }),
  "aes-gcm": show(async () => {
    const key = await raw("AES-GCM", ["encrypt", "decrypt"]);
    const algorithm = { name: "AES-GCM", iv: new Uint8Array(12), additionalData: bytes("more") };
    const sealed = await subtle.encrypt(algorithm, key, data);
    const broken = new Uint8Array(sealed);
    broken[0] ^= 1;
    return [hex(sealed), text(await subtle.decrypt(algorithm, key, sealed)), await attempt(() => subtle.decrypt(algorithm, key, broken))];
  }),
  "aes-gcm-tags": show(async () => {
    const key = await raw("AES-GCM", ["encrypt"]);
    const out = [];
    for (const tagLength of [128, 96, 32, 13]) {
      out.push(await attempt(async () => (await subtle.encrypt({ name: "AES-GCM", iv: new Uint8Array(12), tagLength }, key, data)).byteLength));
    }
    return out;
  }),
  "aes-cbc": show(async () => {
    const key = await raw("AES-CBC", ["encrypt", "decrypt"]);
    const algorithm = { name: "AES-CBC", iv: new Uint8Array(16) };
    const sealed = await subtle.encrypt(algorithm, key, data);
    return [hex(sealed), text(await subtle.decrypt(algorithm, key, sealed)), await attempt(() => subtle.decrypt(algorithm, key, data))];
  }),
  "aes-ctr": show(async () => {
    const key = await raw("AES-CTR", ["encrypt", "decrypt"]);
    const algorithm = { name: "AES-CTR", counter: new Uint8Array(16).fill(255), length: 64 };
    const sealed = await subtle.encrypt(algorithm, key, new Uint8Array(48));
    return [hex(sealed), new Uint8Array(await subtle.decrypt(algorithm, key, sealed)).every((byte) => byte === 0)];
  }),
  "aes-kw": show(async () => {
    const wrapping = await raw("AES-KW", ["wrapKey", "unwrapKey"]);
    const key = await raw("AES-GCM", ["encrypt"]);
    const wrapped = await subtle.wrapKey("raw", key, wrapping, "AES-KW");
    const back = await subtle.unwrapKey("raw", wrapped, wrapping, "AES-KW", "AES-GCM", true, ["encrypt"]);
    return [hex(wrapped), hex(await subtle.exportKey("raw", back))];
  }),
  "usages": show(async () => {
    const key = await raw("AES-GCM", ["encrypt"]);
    return [
      await attempt(() => subtle.decrypt({ name: "AES-GCM", iv: new Uint8Array(12) }, key, data)),
      await attempt(() => raw("AES-GCM", ["sign"])),
      await attempt(() => raw("AES-GCM", [])),
      await attempt(() => raw("AES-GCM", ["encrypt"], new Uint8Array(5))),
    ];
  }),
  "not-extractable": show(async () => {
    const key = await subtle.importKey("raw", new Uint8Array(16), "AES-GCM", false, ["encrypt"]);
    return [key.extractable, await attempt(() => subtle.exportKey("raw", key))];
  }),
  "pbkdf2": show(async () => {
    const key = await subtle.importKey("raw", bytes("password"), "PBKDF2", false, ["deriveBits", "deriveKey"]);
    const algorithm = { name: "PBKDF2", hash: "SHA-256", salt: bytes("salt"), iterations: 1000 };
    const derived = await subtle.deriveKey(algorithm, key, { name: "AES-GCM", length: 256 }, true, ["encrypt"]);
    return [hex(await subtle.deriveBits(algorithm, key, 256)), hex(await subtle.exportKey("raw", derived))];
  }),
  "hkdf": show(async () => {
    const key = await subtle.importKey("raw", bytes("secret"), "HKDF", false, ["deriveBits"]);
    return hex(await subtle.deriveBits({ name: "HKDF", hash: "SHA-256", salt: bytes("salt"), info: bytes("info") }, key, 512));
  }),
  "ecdsa": show(async () => {
    const out = [];
    for (const namedCurve of ["P-256", "P-384", "P-521"]) {
      const { privateKey, publicKey } = await subtle.generateKey({ name: "ECDSA", namedCurve }, true, ["sign", "verify"]);
      const signature = await subtle.sign({ name: "ECDSA", hash: "SHA-256" }, privateKey, data);
      const jwk = await subtle.exportKey("jwk", publicKey);
      out.push([signature.byteLength, await subtle.verify({ name: "ECDSA", hash: "SHA-256" }, publicKey, signature, data), jwk.kty, jwk.crv, (await subtle.exportKey("raw", publicKey)).byteLength]);
    }
    return out;
  }),
  "ecdh": show(async () => {
    const [one, two] = [await subtle.generateKey({ name: "ECDH", namedCurve: "P-256" }, true, ["deriveBits"]), await subtle.generateKey({ name: "ECDH", namedCurve: "P-256" }, true, ["deriveBits"])];
    const a = await subtle.deriveBits({ name: "ECDH", public: two.publicKey }, one.privateKey, 256);
    const b = await subtle.deriveBits({ name: "ECDH", public: one.publicKey }, two.privateKey, 256);
    return [hex(a) === hex(b), a.byteLength];
  }),
  "ed25519": show(async () => {
    const jwk = { kty: "OKP", crv: "Ed25519", d: "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A", x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" };
    const key = await subtle.importKey("jwk", jwk, "Ed25519", true, ["sign"]);
    return [hex(await subtle.sign("Ed25519", key, data)), hex(await subtle.exportKey("pkcs8", key))];
  }),
  "x25519": show(async () => {
    const [one, two] = [await subtle.generateKey("X25519", true, ["deriveBits"]), await subtle.generateKey("X25519", true, ["deriveBits"])];
    return hex(await subtle.deriveBits({ name: "X25519", public: two.publicKey }, one.privateKey, 256)) === hex(await subtle.deriveBits({ name: "X25519", public: one.publicKey }, two.privateKey, 256));
  }),
  "rsa": show(async () => {
    const out = [];
    const common = { modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: "SHA-256" };
    for (const name of ["RSASSA-PKCS1-v1_5", "RSA-PSS"]) {
      const { privateKey, publicKey } = await subtle.generateKey({ name, ...common }, true, ["sign", "verify"]);
      const signature = await subtle.sign({ name, saltLength: 32 }, privateKey, data);
      const spki = await subtle.exportKey("spki", publicKey);
      const again = await subtle.importKey("spki", spki, { name, hash: "SHA-256" }, true, ["verify"]);
      out.push([signature.byteLength, await subtle.verify({ name, saltLength: 32 }, again, signature, data), publicKey.algorithm.modulusLength]);
    }
    return out;
  }),
  "rsa-oaep": show(async () => {
    const { privateKey, publicKey } = await subtle.generateKey({ name: "RSA-OAEP", modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: "SHA-1" }, true, ["encrypt", "decrypt"]);
    const sealed = await subtle.encrypt({ name: "RSA-OAEP", label: bytes("l") }, publicKey, data);
    return [sealed.byteLength, text(await subtle.decrypt({ name: "RSA-OAEP", label: bytes("l") }, privateKey, sealed)), await attempt(() => subtle.decrypt({ name: "RSA-OAEP" }, privateKey, sealed))];
  }),
  "random": show(async () => [
    crypto.getRandomValues(new Uint8Array(8)).length,
    await attempt(() => crypto.getRandomValues(new Float32Array(1))),
    await attempt(() => crypto.getRandomValues(new Uint8Array(65537))),
    /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(crypto.randomUUID()),
  ]),
  "timing-safe-equal": show(async () => [subtle.timingSafeEqual(bytes("a"), bytes("a")), subtle.timingSafeEqual(bytes("a"), bytes("b")), await attempt(() => subtle.timingSafeEqual(bytes("a"), bytes("ab")))]),
  "digest-stream": show(async () => {
    const stream = new crypto.DigestStream("SHA-256");
    await new Blob(["streamed"]).stream().pipeTo(stream);
    return hex(await stream.digest);
  }),
  "key-tags": show(async () => {
    const key = await raw("AES-GCM", ["decrypt", "encrypt"]);
    return [Object.prototype.toString.call(key), key.type, key.usages, key.algorithm, await attempt(() => new CryptoKey())];
  }),
};
