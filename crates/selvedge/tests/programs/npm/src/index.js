// Packages written for Node, each used as its readme says.
import axios, { AxiosError } from "axios";
import bcrypt from "bcryptjs";
import busboy from "busboy";
import { parse } from "csv-parse";
import redirects from "follow-redirects";
import iconv from "iconv-lite";
import jwt from "jsonwebtoken";
import JSZip from "jszip";
import _ from "lodash";
import { customAlphabet, nanoid } from "nanoid";
import { createECDH, createHash, generateKeyPairSync, randomBytes } from "node:crypto";
import { once } from "node:events";
import { Readable, Transform } from "node:stream";
import { text } from "node:stream/consumers";
import * as uuid from "uuid";
import webpush from "web-push";

function tokens(algorithm) {
  const rsa = () => generateKeyPairSync("rsa", { modulusLength: 2048 });
  const ec = () => generateKeyPairSync("ec", { namedCurve: "P-256" });
  const pair = algorithm.startsWith("HS") ? undefined : algorithm.startsWith("ES") ? ec() : rsa();
  const secret = pair ? pair.privateKey.export({ type: "pkcs8", format: "pem" }) : "secret of some length";
  const open = pair ? pair.publicKey.export({ type: "spki", format: "pem" }) : secret;
  const options = { algorithm, expiresIn: "1h", issuer: "me", audience: ["you"], subject: "a", keyid: "k1" };
  const token = jwt.sign({ role: "admin" }, secret, options);
  const { role, iss, aud, sub, exp, iat } = jwt.verify(token, open, { algorithms: [algorithm], issuer: "me", audience: "you" });
  const fails = (token, options) => {
    try {
      return jwt.verify(token, open, options).role;
    } catch (error) {
      return `${error.name}: ${error.message}`;
    }
  };
  const [head, , signature] = token.split(".");
  const forged = [head, Buffer.from('{"role":"root"}').toString("base64url"), signature].join(".");
  const old = jwt.sign({ role: "old", exp: 1 }, secret, { algorithm });
  const { kid } = jwt.decode(token, { complete: true }).header;
  return { role, iss, aud, sub, lasts: exp - iat, kid, forged: fails(forged), old: fails(old), other: fails(token, { issuer: "you" }) };
}

async function passwords() {
  const hash = await bcrypt.hash("correct horse", 5);
  const known = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
  return [hash.length, bcrypt.getRounds(hash), await bcrypt.compare("correct horse", hash), bcrypt.compareSync("wrong", hash), bcrypt.compareSync("U*U", known)];
}

/** Fields and digests of the files of a form, which are never in memory as a whole. */
function upload(request) {
  return new Promise((resolve, reject) => {
    const form = busboy({ headers: Object.fromEntries(request.headers), limits: { fileSize: 1_000_000 } });
    const seen = {};
    const digests = [];
    form.on("field", (name, value) => (seen[name] = value));
    form.on("file", (name, file, { filename, mimeType }) => {
      const hash = createHash("sha256");
      let size = 0;
      file.on("data", (chunk) => (size += chunk.length));
      const done = () => (seen[name] = { filename, mimeType, size, cut: file.truncated, sha256: hash.digest("hex") });
      digests.push(once(file.pipe(hash), "finish").then(done));
    });
    form.on("error", reject).on("close", () => resolve(Promise.all(digests).then(() => seen)));
    Readable.fromWeb(request.body).pipe(form);
  });
}

/** A table in Latin-1 as lines of JSON. */
function table(request) {
  const rows = Readable.fromWeb(request.body)
    .pipe(iconv.decodeStream("latin1"))
    .pipe(parse({ columns: true, cast: true, trim: true, delimiter: ";" }));
  const lines = new Transform({
    writableObjectMode: true,
    transform: (row, _encoding, done) => done(null, `${JSON.stringify(row)}\n`),
    final(done) {
      this.push(`${rows.info.records} rows\n`);
      done();
    },
  });
  rows.on("error", (error) => lines.end({ code: error.code }));
  return new Response(Readable.toWeb(rows.pipe(lines)));
}

/** Packs files and unpacks them again. */
async function archive() {
  const zip = new JSZip();
  zip.file("hello.txt", "hello");
  zip.folder("deep").file("long.bin", Buffer.alloc(300_000, "ab"));
  const bytes = await zip.generateAsync({ type: "nodebuffer", compression: "DEFLATE", streamFiles: true });
  const read = await JSZip.loadAsync(bytes);
  const files = Object.values(read.files).filter((file) => !file.dir);
  const sizes = files.map(async (file) => [file.name, (await file.async("string")).length]);
  return Object.fromEntries(await Promise.all(sizes));
}

async function follow(url) {
  const get = async (path, options = {}) => {
    const request = redirects.http.request(url + path, { trackRedirects: true, ...options });
    request.end(options.body);
    const [response] = await once(request, "response");
    return [response.statusCode, response.responseUrl.slice(url.length), response.redirects?.length, await text(response)];
  };
  return {
    twice: await get("/twice"),
    post: await get("/keeps", { method: "POST", body: "the body" }),
    loop: await get("/loop", { maxRedirects: 3 }).catch((error) => error.code),
  };
}

async function asks(url) {
  const client = axios.create({ baseURL: url, headers: { "X-Client": "axios" } });
  client.interceptors.response.use((response) => ((response.data.seen = true), response));
  const posted = await client.post("/echo", { a: [1] }, { params: { q: ["x", "y"] } });
  const missing = await client.get("/missing").catch((error) => error);
  const refused = await axios.get("http://10.0.0.1/").catch((error) => error);
  const stream = await axios.get(`${url}/echo`, { responseType: "arraybuffer" });
  return {
    posted: [posted.status, posted.data],
    missing: [missing instanceof AxiosError, missing.code, missing.response.status, missing.response.data],
    refused: refused.code,
    bytes: Buffer.from(stream.data).toString().length > 0,
  };
}

/** Encrypts a message for a browser (RFC 8291) and posts it. */
async function push(endpoint) {
  const { publicKey, privateKey } = webpush.generateVAPIDKeys();
  const browser = createECDH("prime256v1");
  const keys = { p256dh: browser.generateKeys("base64url"), auth: randomBytes(16).toString("base64url") };
  const vapidDetails = { subject: "mailto:me@example.com", publicKey, privateKey };
  const sent = await webpush.sendNotification({ endpoint, keys }, "a message", { vapidDetails, TTL: 60 });
  const gone = await webpush.sendNotification({ endpoint: `${endpoint}gone`, keys }, "another", { vapidDetails }).catch((error) => error);
  return [sent.statusCode, JSON.parse(sent.body), gone.name, gone.statusCode];
}

async function values() {
  const deep = _.merge({ a: { b: 1 } }, { a: { c: [1, 2] } });
  const calls = [];
  const later = _.debounce((x) => calls.push(x), 5);
  later(1), later(2);
  await new Promise((r) => setTimeout(r, 50));
  const name = uuid.v5("https://example.com/", uuid.v5.URL);
  return {
    lodash: [deep, _.groupBy([1, 2, 3], (n) => (n % 2 ? "odd" : "even")), _.kebabCase("fooBar baz"), _.isBuffer(Buffer.alloc(1)), _.cloneDeep(new Map([[1, { a: 1 }]])).get(1), calls],
    uuid: [uuid.validate(uuid.v4()), uuid.version(uuid.v7()), name, uuid.v4() !== uuid.v4()],
    nanoid: [nanoid().length, /^[ab]{9}$/.test(customAlphabet("ab", 9)())],
  };
}

export default {
  async fetch(request) {
    const { pathname, searchParams } = new URL(request.url);
    const [, what, which] = pathname.split("/");
    const origin = searchParams.get("origin");
    switch (what) {
      case "jwt":
        return Response.json(tokens(which));
      case "bcrypt":
        return Response.json(await passwords());
      case "upload":
        return Response.json(await upload(request));
      case "csv":
        return table(request);
      case "zip":
        return Response.json(await archive());
      case "follow":
        return Response.json(await follow(origin));
      case "axios":
        return Response.json(await asks(origin));
      case "push":
        return Response.json(await push(origin));
      default:
        return Response.json(await values());
    }
  },
};
