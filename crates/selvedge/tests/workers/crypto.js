// Each path is a case; its answer is text, or JSON of what it gives.
const { subtle } = crypto;
const utf8 = new TextEncoder();
const text = (bytes) => new TextDecoder().decode(bytes);
const hex = (bytes) => [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const bytes = (digits) => new Uint8Array(digits.match(/../g).map((digit) => parseInt(digit, 16)));
const raw = (data, algorithm, usages) => subtle.importKey("raw", data, algorithm, true, usages);

/** The name of what is thrown, or "nothing". */
async function thrown(run) {
  try {
    await run();
  } catch (error) {
    return error instanceof DOMException || error instanceof TypeError ? error.name : `${error}`;
  }
  return "nothing";
}

/** Signs, verifies, and takes the keys through every format. */
async function signs(generate, parameters, importing = generate) {
  const { publicKey, privateKey } = await subtle.generateKey(generate, true, ["sign", "verify"]);
  const data = utf8.encode("message");
  const check = (key, signature) => subtle.verify(parameters, key, signature, data);
  let signature = await subtle.sign(parameters, privateKey, data);
  const results = [await check(publicKey, signature)];
  for (const [format, key, usage] of [["pkcs8", privateKey, "sign"], ["jwk", privateKey, "sign"], ["spki", publicKey, "verify"], ["jwk", publicKey, "verify"]]) {
    const again = await subtle.importKey(format, await subtle.exportKey(format, key), importing, true, [usage]);
    if (usage === "sign") signature = await subtle.sign(parameters, again, data);
    results.push(await check(usage === "sign" ? publicKey : again, signature));
  }
  new Uint8Array(signature)[3] ^= 1;
  results.push(await check(publicKey, signature));
  return results.join();
}

/** Encrypts, decrypts, and does not decrypt what was changed. */
async function encrypts(algorithm, parameters) {
  const key = await subtle.generateKey(algorithm, true, ["encrypt", "decrypt"]);
  const data = crypto.getRandomValues(new Uint8Array(1000));
  const sealed = await subtle.encrypt(parameters, key, data);
  const same = hex(await subtle.decrypt(parameters, key, sealed)) === hex(data);
  return `${same} ${sealed.byteLength} ${await thrown(() => subtle.decrypt(parameters, key, sealed.slice(0, 10)))}`;
}

async function agrees(algorithm) {
  const one = await subtle.generateKey(algorithm, false, ["deriveBits"]);
  const two = await subtle.generateKey(algorithm, false, ["deriveBits", "deriveKey"]);
  const name = algorithm.name;
  const secret = hex(await subtle.deriveBits({ name, public: two.publicKey }, one.privateKey, null));
  const other = hex(await subtle.deriveBits({ name, public: one.publicKey }, two.privateKey, 128));
  const key = await subtle.deriveKey({ name, public: one.publicKey }, two.privateKey, { name: "AES-GCM", length: 256 }, true, ["encrypt"]);
  return `${secret.length / 2} ${secret.startsWith(other)} ${secret.startsWith(hex(await subtle.exportKey("raw", key)))}`;
}

const RSA = { modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: "SHA-256" };

const cases = {
  async digest() {
    const all = {};
    for (const name of ["MD5", "SHA-1", "SHA-256", "sha-384", { name: "Sha-512" }]) {
      all[name.name ?? name] = hex(await subtle.digest(name, utf8.encode("abc"))).slice(0, 16);
    }
    return all;
  },
  async large() {
    const data = new Uint8Array(3 << 20).fill(7);
    const promise = subtle.digest("SHA-256", data);
    data.fill(0);
    const stream = new crypto.DigestStream("SHA-256");
    await new Blob([new Uint8Array(3 << 20).fill(7)]).stream().pipeTo(stream);
    return hex(await promise) === hex(await stream.digest) && `${stream.bytesWritten}`;
  },
  async stream() {
    const stream = new crypto.DigestStream({ name: "sha-1" });
    const writer = stream.getWriter();
    writer.write("a");
    writer.write(utf8.encode("bc").buffer);
    await writer.close();
    const bad = new crypto.DigestStream("SHA-256");
    const failed = await thrown(() => bad.getWriter().write(7));
    const aborted = new crypto.DigestStream("MD5");
    await aborted.abort(new TypeError("enough"));
    return [hex(await stream.digest), failed, await thrown(() => bad.digest), await thrown(() => aborted.digest), stream instanceof WritableStream];
  },
  async hmac() {
    const key = await raw(utf8.encode("Jefe"), { name: "HMAC", hash: "SHA-256" }, ["sign", "verify"]);
    const code = await subtle.sign("HMAC", key, utf8.encode("what do ya want for nothing?"));
    const jwk = await subtle.exportKey("jwk", key);
    return [hex(code).slice(0, 16), await subtle.verify("HMAC", key, code, utf8.encode("nothing")), jwk, key.algorithm];
  },
  gcm: () => encrypts({ name: "AES-GCM", length: 256 }, { name: "AES-GCM", iv: new Uint8Array(12), additionalData: utf8.encode("a"), tagLength: 96 }),
  gcmNonce: () => encrypts({ name: "AES-GCM", length: 128 }, { name: "AES-GCM", iv: new Uint8Array(50) }),
  cbc: () => encrypts({ name: "AES-CBC", length: 192 }, { name: "AES-CBC", iv: new Uint8Array(16) }),
  ctr: () => encrypts({ name: "AES-CTR", length: 256 }, { name: "AES-CTR", counter: new Uint8Array(16).fill(255), length: 32 }),
  async kw() {
    const kek = await raw(bytes("000102030405060708090a0b0c0d0e0f"), "AES-KW", ["wrapKey", "unwrapKey"]);
    const key = await raw(bytes("00112233445566778899aabbccddeeff"), "AES-GCM", ["encrypt"]);
    const wrapped = await subtle.wrapKey("raw", key, kek, "AES-KW");
    const again = await subtle.unwrapKey("raw", wrapped, kek, "AES-KW", "AES-CBC", true, ["decrypt"]);
    return `${hex(wrapped)} ${hex(await subtle.exportKey("raw", again))} ${again.usages} ${again.algorithm.name}`;
  },
  async oaep() {
    const { publicKey, privateKey } = await subtle.generateKey({ name: "RSA-OAEP", ...RSA }, true, ["encrypt", "decrypt", "wrapKey", "unwrapKey"]);
    const parameters = { name: "RSA-OAEP", label: utf8.encode("label") };
    const sealed = await subtle.encrypt(parameters, publicKey, utf8.encode("hello"));
    const key = await subtle.generateKey({ name: "AES-GCM", length: 128 }, true, ["encrypt"]);
    const wrapped = await subtle.wrapKey("raw", key, publicKey, parameters);
    const again = await subtle.unwrapKey("raw", wrapped, privateKey, parameters, "AES-GCM", true, ["encrypt"]);
    const same = hex(await subtle.exportKey("raw", key)) === hex(await subtle.exportKey("raw", again));
    return [text(await subtle.decrypt(parameters, privateKey, sealed)), await thrown(() => subtle.decrypt("RSA-OAEP", privateKey, sealed)), same, publicKey.usages, privateKey.usages];
  },
  pkcs1: () => signs({ name: "RSASSA-PKCS1-v1_5", ...RSA }, "RSASSA-PKCS1-v1_5"),
  pss: () => signs({ name: "RSA-PSS", ...RSA, hash: "SHA-1" }, { name: "RSA-PSS", saltLength: 11 }),
  p256: () => signs({ name: "ECDSA", namedCurve: "P-256" }, { name: "ECDSA", hash: "SHA-512" }),
  p384: () => signs({ name: "ECDSA", namedCurve: "P-384" }, { name: "ECDSA", hash: "SHA-256" }),
  p521: () => signs({ name: "ECDSA", namedCurve: "P-521" }, { name: "ECDSA", hash: "SHA-1" }),
  ed25519: () => signs("Ed25519", { name: "ed25519" }),
  ecdh: async () => [await agrees({ name: "ECDH", namedCurve: "P-256" }), await agrees({ name: "ECDH", namedCurve: "P-521" })],
  x25519: () => agrees({ name: "X25519" }),
  async hkdf() {
    const key = await subtle.importKey("raw", new Uint8Array(22).fill(0x0b), "HKDF", false, ["deriveBits"]);
    const parameters = { name: "HKDF", hash: "SHA-256", salt: bytes("000102030405060708090a0b0c"), info: bytes("f0f1f2f3f4f5f6f7f8f9") };
    const refused = [8161 * 8, 12, null].map((length) => thrown(() => subtle.deriveBits(parameters, key, length)));
    return [hex(await subtle.deriveBits(parameters, key, 336)), ...(await Promise.all(refused))];
  },
  async pbkdf2() {
    const key = await subtle.importKey("raw", utf8.encode("password"), "PBKDF2", false, ["deriveBits", "deriveKey"]);
    const parameters = { name: "PBKDF2", hash: "SHA-1", salt: utf8.encode("salt"), iterations: 4096 };
    const derived = await subtle.deriveKey(parameters, key, { name: "HMAC", hash: "SHA-256", length: 160 }, true, ["sign"]);
    return [hex(await subtle.deriveBits(parameters, key, 160)), hex(await subtle.exportKey("raw", derived)), await thrown(() => subtle.deriveBits({ ...parameters, iterations: 0 }, key, 8))];
  },
  async errors() {
    const aes = await subtle.generateKey({ name: "AES-GCM", length: 128 }, false, ["encrypt"]);
    const pair = await subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, false, ["sign"]);
    const data = new Uint8Array(1);
    const all = {
      unknown: () => subtle.digest("SHA-7", data),
      kelvin: () => subtle.importKey("raw", data, "P\u212aDF2", false, []),
      nameless: () => subtle.digest({}, data),
      noData: () => subtle.digest("SHA-1", "abc"),
      few: () => subtle.digest("SHA-1"),
      strangeThis: () => subtle.digest.call({}, "SHA-1", data),
      usage: () => subtle.decrypt({ name: "AES-GCM", iv: data }, aes, data),
      algorithm: () => subtle.encrypt({ name: "AES-CBC", iv: data }, aes, data),
      iv: () => subtle.encrypt({ name: "AES-GCM" }, aes, data),
      emptyIv: () => subtle.encrypt({ name: "AES-GCM", iv: new Uint8Array(0) }, aes, data),
      tag: () => subtle.encrypt({ name: "AES-GCM", iv: data, tagLength: 100 }, aes, data),
      extract: () => subtle.exportKey("raw", aes),
      wrongHalf: () => subtle.exportKey("pkcs8", pair.publicKey),
      noUsages: () => subtle.generateKey({ name: "AES-GCM", length: 128 }, true, []),
      badUsages: () => subtle.generateKey({ name: "AES-GCM", length: 128 }, true, ["sign"]),
      noSuchUsage: () => subtle.generateKey({ name: "AES-GCM", length: 128 }, true, ["dance"]),
      length: () => subtle.generateKey({ name: "AES-GCM", length: 100 }, true, ["encrypt"]),
      range: () => subtle.generateKey({ name: "AES-GCM", length: 70000 }, true, ["encrypt"]),
      curve: () => subtle.generateKey({ name: "ECDH", namedCurve: "P-1" }, true, ["deriveBits"]),
      exponent: () => subtle.generateKey({ name: "RSA-PSS", ...RSA, publicExponent: new Uint8Array([1]) }, true, ["sign"]),
      size: () => subtle.generateKey({ name: "RSA-PSS", ...RSA, modulusLength: 2 ** 31 }, true, ["sign"]),
      format: () => subtle.importKey("pem", data, "AES-GCM", true, ["encrypt"]),
      jwkBytes: () => subtle.importKey("jwk", data, "AES-GCM", true, ["encrypt"]),
      rawJwk: () => subtle.importKey("raw", {}, "AES-GCM", true, ["encrypt"]),
      shortKey: () => subtle.importKey("raw", data, "AES-GCM", true, ["encrypt"]),
      der: () => subtle.importKey("spki", data, { name: "ECDSA", namedCurve: "P-256" }, true, ["verify"]),
      point: () => subtle.importKey("raw", new Uint8Array(65).fill(4), { name: "ECDSA", namedCurve: "P-256" }, true, ["verify"]),
      extractableSecret: () => subtle.importKey("raw", data, "HKDF", true, ["deriveBits"]),
      construct: () => new CryptoKey(),
    };
    const names = {};
    for (const name in all) names[name] = await thrown(all[name]);
    return names;
  },
  async detached() {
    const data = new Uint8Array(100);
    structuredClone(data.buffer, { transfer: [data.buffer] });
    const during = new Uint8Array(100);
    const algorithm = { get name() { during.buffer.transfer(); return "SHA-1"; } };
    const resized = new Uint8Array(new ArrayBuffer(100, { maxByteLength: 200 }));
    resized.buffer.resize(0);
    const all = await Promise.all([subtle.digest("SHA-1", data), subtle.digest(algorithm, during), subtle.digest("SHA-1", resized), subtle.digest("SHA-1", data.buffer)]);
    const iv = new Uint8Array(12);
    iv.buffer.transfer();
    const key = await subtle.generateKey({ name: "AES-GCM", length: 128 }, false, ["encrypt"]);
    return [new Set(all.map(hex)).size, hex(all[0]).slice(0, 8), await thrown(() => subtle.encrypt({ name: "AES-GCM", iv }, key, data))];
  },
  async getters() {
    const boom = { get name() { throw new RangeError("boom"); } };
    const late = { name: "AES-GCM", get iv() { throw new RangeError("late"); } };
    const key = await subtle.generateKey({ name: "AES-GCM", length: 128 }, false, ["encrypt"]);
    const jwk = { kty: "oct", get k() { throw new RangeError("k"); } };
    const usages = { *[Symbol.iterator]() { yield "encrypt"; throw new RangeError("usages"); } };
    return [
      await thrown(() => subtle.digest(boom, new Uint8Array(1))),
      await thrown(() => subtle.encrypt(late, key, new Uint8Array(1))),
      await thrown(() => subtle.importKey("jwk", jwk, "AES-GCM", true, ["encrypt"])),
      await thrown(() => subtle.generateKey({ name: "AES-GCM", length: 128 }, true, usages)),
      await thrown(() => subtle.digest({ toString: () => "SHA-1" }, new Uint8Array(1))),
      await thrown(() => subtle.digest(Symbol("SHA-1"), new Uint8Array(1))),
    ];
  },
  async liars() {
    const key = await subtle.generateKey({ name: "AES-GCM", length: 128 }, false, ["encrypt"]);
    const parameters = { name: "AES-GCM", iv: new Uint8Array(12) };
    const lying = { __proto__: CryptoKey.prototype, type: "secret", algorithm: { name: "AES-GCM" }, usages: ["encrypt"] };
    key.usages.push("decrypt");
    key.algorithm.name = "AES-CBC";
    const view = new Uint8Array(4);
    Object.defineProperty(view, "byteLength", { value: 1 << 30 });
    Object.defineProperty(view, "buffer", { value: new ArrayBuffer(0) });
    return [
      await thrown(() => subtle.encrypt(parameters, lying, view)),
      await thrown(() => subtle.encrypt(parameters, new Proxy(key, {}), view)),
      await thrown(() => subtle.decrypt(parameters, key, view)),
      (await subtle.encrypt(parameters, key, view)).byteLength,
      await thrown(() => subtle.digest("SHA-1", { __proto__: Uint8Array.prototype })),
      await thrown(() => lying.type.x + CryptoKey.prototype.type),
    ];
  },
  async concurrent() {
    const key = await subtle.importKey("raw", new Uint8Array(32), "PBKDF2", false, ["deriveBits"]);
    const parameters = { name: "PBKDF2", hash: "SHA-256", salt: new Uint8Array(16), iterations: 201 };
    const data = new Uint8Array(1000);
    const all = [];
    for (let i = 0; i < 10_000; i++) {
      all.push(subtle.deriveBits(parameters, key, 256), i % 2 ? subtle.digest("SHA-256", data) : crypto.subtle.digest("SHA-1", data));
    }
    return new Set((await Promise.all(all)).map(hex)).size;
  },
  async tooMany() {
    const key = await subtle.importKey("raw", new Uint8Array(32), "PBKDF2", false, ["deriveBits"]);
    const parameters = { name: "PBKDF2", hash: "SHA-256", salt: new Uint8Array(16), iterations: 5000 };
    // The first that fails answers; nobody waits for the others.
    return await new Promise((resolve) => {
      for (let i = 0; i < 30_000; i++) subtle.deriveBits(parameters, key, 8).catch((error) => resolve(error.name));
    });
  },
  async garbage() {
    let last;
    for (let i = 0; i < 150_000; i++) last = await subtle.importKey("raw", new Uint8Array(256), { name: "HMAC", hash: "SHA-1" }, false, ["sign"]);
    return (await subtle.sign("HMAC", last, new Uint8Array(1))).byteLength;
  },
  async hoard() {
    const keys = [];
    const failed = await thrown(async () => {
      for (;;) keys.push(await subtle.importKey("raw", new Uint8Array(64 << 10), { name: "HMAC", hash: "SHA-1" }, false, ["sign"]));
    });
    return [failed, keys.length > 500, (await subtle.sign("HMAC", keys[0], new Uint8Array(1))).byteLength];
  },
  async poisoned() {
    let calls = "";
    const spy = (name) => function () { calls += ` ${name}`; throw new Error(name); };
    Object.defineProperty(Object.prototype, "then", { get: undefined, configurable: true });
    for (const [target, names] of [
      [Array.prototype, ["push", "indexOf", "join", "slice", "map", "includes"]],
      [String.prototype, ["toUpperCase", "toLowerCase", "indexOf", "slice", "charCodeAt"]],
      [Promise.prototype, ["then", "finally", "catch"]],
      [Map.prototype, ["get", "set", "delete"]],
      [Uint8Array.prototype.__proto__, ["slice", "set", "subarray"]],
      [Function.prototype, ["call", "apply", "bind"]],
    ]) for (const name of names) target[name] = spy(name);
    const key = await subtle.generateKey({ name: "RSA-OAEP", ...RSA }, true, ["encrypt", "decrypt"]);
    const jwk = await subtle.exportKey("jwk", key.publicKey);
    const sealed = await subtle.encrypt("RSA-OAEP", await subtle.importKey("jwk", jwk, { name: "RSA-OAEP", hash: "SHA-256" }, true, ["encrypt"]), new Uint8Array(5));
    const opened = await subtle.decrypt("RSA-OAEP", key.privateKey, sealed);
    return `${opened.byteLength}${calls}`;
  },
  async burn() {
    const key = await subtle.importKey("raw", new Uint8Array(1), "PBKDF2", false, ["deriveBits"]);
    return (await subtle.deriveBits({ name: "PBKDF2", hash: "SHA-256", salt: new Uint8Array(1), iterations: 2 ** 32 - 1 }, key, 256)).byteLength;
  },
  async many() {
    const pair = await subtle.importKey("pkcs8", await subtle.exportKey("pkcs8", (await subtle.generateKey({ name: "RSA-PSS", ...RSA }, true, ["sign"])).privateKey), { name: "RSA-PSS", hash: "SHA-256" }, false, ["sign"]);
    for (;;) await subtle.sign({ name: "RSA-PSS", saltLength: 0 }, pair, new Uint8Array(1));
  },
  async slow() {
    const key = await subtle.importKey("raw", new Uint8Array(1), "PBKDF2", false, ["deriveBits"]);
    await subtle.deriveBits({ name: "PBKDF2", hash: "SHA-256", salt: new Uint8Array(1), iterations: 300_000 }, key, 256);
    return "old";
  },
  equal: () => [
    subtle.timingSafeEqual(new Uint8Array([1, 2]), new Uint8Array([1, 2]).buffer),
    subtle.timingSafeEqual(new Uint8Array([1, 2]), new Uint8Array([1, 3])),
  ],
  shapes: () => [
    `${crypto}`, `${subtle}`, subtle === crypto.subtle, typeof CryptoKey, subtle.digest.length, subtle.unwrapKey.name,
    Object.keys(SubtleCrypto.prototype).length, crypto.randomUUID().length,
  ],
};

export default {
  async fetch(request) {
    const run = cases[new URL(request.url).pathname.slice(1)];
    if (run === undefined) return new Response("fine");
    const answer = await run();
    return typeof answer === "string" ? new Response(answer) : Response.json(answer);
  },
};
