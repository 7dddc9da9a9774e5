// What node:crypto computes: run by Node and by a worker, which must say the same.
import crypto from "node:crypto";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";

const hex = (bytes) => Buffer.from(bytes).toString("hex");
const long = Buffer.alloc(100_003, "abcdefg");
const outcomes = [];

/** Keeps what a function gives or throws. */
async function note(name, make) {
  try {
    const value = await make();
    outcomes.push([name, value instanceof ArrayBuffer || ArrayBuffer.isView(value) ? hex(value) : value]);
  } catch (error) {
    outcomes.push([name, "throws", error.name, error.code]);
  }
}

async function digests() {
  for (const name of ["md5", "sha1", "SHA224", "sha256", "sha384", "sha512", "sha512-256", "RSA-SHA256"]) {
    await note(name, () => crypto.createHash(name).update("a").update(Buffer.from("ü")).update("ff", "hex").digest("base64"));
    await note(`hmac ${name}`, () => crypto.createHmac(name, "key").update("data").digest("base64url"));
  }
  await note("copy", () => {
    const one = crypto.createHash("sha256").update("a");
    const two = one.copy();
    return [one.update("b").digest("hex"), two.digest("hex")];
  });
  await note("stream", async () => {
    const chunks = [];
    await pipeline(Readable.from([long, "more"]), crypto.createHash("sha1"), async (from) => {
      for await (const chunk of from) chunks.push(chunk);
    });
    return hex(Buffer.concat(chunks));
  });
  await note("latin1", () => crypto.createHash("md5").update("x").digest("latin1"));
  await note("second hmac digest", () => { const h = crypto.createHmac("md5", "k"); h.digest(); return h.digest("hex"); });
  await note("twice", () => { const h = crypto.createHash("md5"); h.digest(); h.digest(); });
  await note("after", () => { const h = crypto.createHash("md5"); h.digest(); h.update("a"); });
  await note("no hash", () => crypto.createHash("nope"));
  await note("no hmac", () => crypto.createHmac("nope", "k"));
  await note("no data", () => crypto.createHash("md5").update(3));
  await note("no name", () => crypto.createHash());
  await note("no key", () => crypto.createHmac("sha1"));
  await note("hmac key object", () => crypto.createHmac("sha1", crypto.createSecretKey("k", "utf8")).update("x").digest("hex"));
  await note("equal", () => [crypto.timingSafeEqual(Buffer.from("a"), Buffer.from("a")), crypto.timingSafeEqual(Buffer.from("a"), Buffer.from("b"))]);
  await note("unequal lengths", () => crypto.timingSafeEqual(Buffer.from("a"), Buffer.from("ab")));
}

async function derived() {
  await note("pbkdf2", () => crypto.pbkdf2Sync("pw", "salt", 1000, 40, "sha512"));
  await note("pbkdf2 later", () => promisify(crypto.pbkdf2)("pw", "salt", 5000, 20, "sha1"));
  await note("pbkdf2 rounds", () => crypto.pbkdf2Sync("a", "b", 0, 1, "sha1"));
  await note("pbkdf2 digest", () => crypto.pbkdf2Sync("a", "b", 1, 1, "nope"));
  await note("scrypt", () => crypto.scryptSync("pw", "salt", 64, { N: 1024, r: 8, p: 2 }));
  await note("scrypt later", () => promisify(crypto.scrypt)("pw", "salt", 32));
  await note("scrypt cost", () => crypto.scryptSync("a", "b", 1, { N: 3 }));
  await note("scrypt memory", () => crypto.scryptSync("a", "b", 1, { N: 1 << 20 }));
  await note("hkdf", () => crypto.hkdfSync("sha256", "ikm", "salt", "info", 42));
  await note("hkdf later", () => promisify(crypto.hkdf)("sha384", "ikm", "", "", 16));
  await note("hkdf long", () => crypto.hkdfSync("sha256", "a", "b", "c", 9999));
}

async function ciphers() {
  const plain = long.subarray(0, 1003);
  for (const bits of [128, 192, 256]) {
    for (const mode of ["cbc", "ctr", "gcm"]) {
      for (const size of mode === "gcm" ? [12, 16] : [16]) {
        const name = `aes-${bits}-${mode}`;
        const key = Buffer.alloc(bits / 8, "k");
        // A counter that is about to overflow.
        const iv = Buffer.alloc(size, 255);
        await note(`${name} ${size}`, () => {
          const cipher = crypto.createCipheriv(name, key, iv);
          if (mode === "gcm") cipher.setAAD(Buffer.from("about"));
          const out = Buffer.concat([...[0, 5, 16, 37, 64, 700].map((at, i, all) => cipher.update(plain.subarray(at, all[i + 1]))), cipher.final()]);
          const tag = mode === "gcm" ? cipher.getAuthTag() : Buffer.alloc(0);
          const decipher = crypto.createDecipheriv(name, key, iv);
          if (mode === "gcm") decipher.setAAD(Buffer.from("about")).setAuthTag(tag);
          const back = Buffer.concat([...[0, 1, 33, 48, 500].map((at, i, all) => decipher.update(out.subarray(at, all[i + 1]))), decipher.final()]);
          return [hex(out), hex(tag), back.equals(plain)];
        });
      }
    }
  }
  const key = Buffer.alloc(16), iv = Buffer.alloc(16), nonce = Buffer.alloc(12);
  const with_ = (make, use) => () => { const c = make(); return use(c); };
  const cbc = () => crypto.createCipheriv("aes-128-cbc", key, iv), uncbc = () => crypto.createDecipheriv("aes-128-cbc", key, iv);
  const gcm = () => crypto.createCipheriv("aes-128-gcm", key, nonce), ungcm = () => crypto.createDecipheriv("aes-128-gcm", key, nonce);
  await note("text", with_(cbc, (c) => c.update("héllo", "utf8", "hex") + c.final("hex")));
  await note("no padding", with_(cbc, (c) => { c.setAutoPadding(false); return c.update(Buffer.alloc(32), undefined, "hex") + c.final("hex"); }));
  await note("no padding back", with_(uncbc, (c) => { c.setAutoPadding(false); return c.update(Buffer.alloc(32), undefined, "hex") + c.final("hex"); }));
  await note("no whole block", with_(cbc, (c) => { c.setAutoPadding(false); c.update("a"); c.final(); }));
  await note("cut", with_(uncbc, (c) => { c.update(Buffer.alloc(15)); c.final(); }));
  await note("bad padding", with_(uncbc, (c) => { c.update(Buffer.alloc(16)); c.final(); }));
  await note("no tag", with_(ungcm, (c) => { c.update(Buffer.alloc(15)); c.final(); }));
  await note("wrong tag", with_(ungcm, (c) => { c.setAuthTag(Buffer.alloc(16)); c.update("x"); c.final(); }));
  await note("short tag", () => { const c = crypto.createCipheriv("aes-128-gcm", key, nonce, { authTagLength: 12 }); c.update("x"); c.final(); return c.getAuthTag(); });
  await note("bad tag length", with_(ungcm, (c) => c.setAuthTag(Buffer.alloc(3))));
  await note("early tag", with_(gcm, (c) => c.getAuthTag()));
  await note("final twice", with_(gcm, (c) => { c.final(); c.final(); }));
  await note("unknown cipher", () => crypto.createCipheriv("nope", key, iv));
  await note("bad key", () => crypto.createCipheriv("aes-128-cbc", Buffer.alloc(15), iv));
  await note("bad iv", () => crypto.createCipheriv("aes-128-cbc", key, nonce));
  await note("no iv", () => crypto.createCipheriv("aes-128-gcm", key, null));
  await note("stream", async () => {
    const chunks = [];
    await pipeline(Readable.from([long, long]), crypto.createCipheriv("aes-256-ctr", Buffer.alloc(32), iv), crypto.createDecipheriv("aes-256-ctr", Buffer.alloc(32), iv), async (from) => {
      for await (const chunk of from) chunks.push(chunk);
    });
    return crypto.createHash("md5").update(Buffer.concat(chunks)).digest("hex");
  });
}

async function pairs(keys) {
  for (const [kind, { privateKey, publicKey }] of Object.entries(keys)) {
    const secret = crypto.createPrivateKey(privateKey);
    const open = crypto.createPublicKey(publicKey);
    await note(`${kind} key`, () => [secret.type, open.type, secret.asymmetricKeyType, open.export({ type: "spki", format: "pem" }), secret.export({ type: "pkcs8", format: "der" }).toString("hex")]);
    await note(`${kind} jwk`, () => [secret.export({ format: "jwk" }), crypto.createPrivateKey({ key: secret.export({ format: "jwk" }), format: "jwk" }).equals(secret)]);
    await note(`${kind} public of private`, () => crypto.createPublicKey(secret).equals(open));
    if (kind === "x25519") {
      await note("agree", () => crypto.diffieHellman({ privateKey: secret, publicKey: open }));
      continue;
    }
    const algorithm = kind === "ed25519" ? null : "sha256";
    const own = crypto.sign(algorithm, Buffer.from("m"), secret);
    await note(`${kind} verify`, () => [crypto.verify(algorithm, Buffer.from("m"), open, own), crypto.verify(algorithm, Buffer.from("n"), open, own)]);
    if (kind !== "ec") await note(`${kind} sign`, () => own);
    if (kind === "ed25519") continue;
    await note(`${kind} pieces`, () => {
      const signature = crypto.createSign("RSA-SHA512").update("a").update("b").sign(secret, "base64");
      return crypto.createVerify("sha512").update("ab").verify(open, signature, "base64");
    });
    if (kind === "ec") {
      const raw = crypto.sign("sha256", Buffer.from("m"), { key: secret, dsaEncoding: "ieee-p1363" });
      await note("raw ecdsa", () => [raw.length, crypto.verify("sha256", Buffer.from("m"), { key: open, dsaEncoding: "ieee-p1363" }, raw)]);
      continue;
    }
    await note("pkcs1", () => [open.export({ type: "pkcs1", format: "pem" }), crypto.createPrivateKey(secret.export({ type: "pkcs1", format: "pem" })).equals(secret)]);
    for (const saltLength of [undefined, -1, -2, 20]) {
      const padding = crypto.constants.RSA_PKCS1_PSS_PADDING;
      const signature = crypto.sign("sha256", Buffer.from("m"), { key: secret, padding, saltLength });
      await note(`pss ${saltLength}`, () => crypto.verify("sha256", Buffer.from("m"), { key: open, padding, saltLength }, signature));
    }
    await note("oaep", () => crypto.privateDecrypt(secret, crypto.publicEncrypt(open, Buffer.from("hush"))).toString());
    await note("oaep label", () => crypto.privateDecrypt({ key: secret, oaepHash: "sha256", oaepLabel: Buffer.from("l") }, crypto.publicEncrypt({ key: open, oaepHash: "sha256", oaepLabel: Buffer.from("l") }, Buffer.from("hush"))).toString());
  }
  await note("made", () => ["ed25519", "x25519", "ec"].map((kind) => crypto.generateKeyPairSync(kind, { namedCurve: "P-256" }).privateKey.asymmetricKeyType));
  await note("made later", async () => (await promisify(crypto.generateKeyPair)("rsa", { modulusLength: 2048, publicKeyEncoding: { type: "spki", format: "pem" } })).publicKey.slice(0, 26));
  await note("ecdh", () => {
    const one = crypto.createECDH("prime256v1"), two = crypto.createECDH("prime256v1");
    one.setPrivateKey(Buffer.alloc(32, 1));
    two.setPrivateKey(Buffer.alloc(32, 2));
    return [one.computeSecret(two.getPublicKey(), null, "hex"), two.computeSecret(one.getPublicKey("hex"), "hex", "hex")];
  });
  await note("no pem", () => crypto.createPrivateKey("x"));
  await note("no kind", () => crypto.generateKeyPairSync("nope"));
  await note("no secret", () => crypto.createSecretKey(3));
  await note("no sign", () => crypto.createSign("nope"));
}

async function random() {
  await note("sizes", () => [crypto.randomBytes(100_000).length, crypto.randomUUID().length, crypto.randomFillSync(new Uint16Array(4)).length, crypto.getRandomValues(new Uint8Array(3)).length]);
  await note("callback", async () => (await promisify(crypto.randomBytes)(8)).length);
  await note("int", () => Array.from({ length: 200 }, () => crypto.randomInt(3, 5)).every((n) => n === 3 || n === 4));
  await note("int later", async () => (await promisify(crypto.randomInt)(1)));
  await note("int order", () => crypto.randomInt(5, 2));
  await note("int range", () => crypto.randomInt(2 ** 50));
  await note("int kind", () => crypto.randomInt("a"));
  await note("negative", () => crypto.randomBytes(-1));
  await note("text", () => crypto.randomBytes("a"));
  await note("fill", () => crypto.randomFillSync(Buffer.alloc(4), 5));
  await note("web", async () => hex(await crypto.webcrypto.subtle.digest("SHA-1", Buffer.from("a"))) + (crypto.subtle === crypto.webcrypto.subtle));
}

export async function run(keys) {
  outcomes.length = 0;
  for (const group of [digests, derived, ciphers, random]) await group();
  await pairs(keys);
  return outcomes;
}
