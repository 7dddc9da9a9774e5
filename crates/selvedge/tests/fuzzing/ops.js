// Calls every op of the host with hostile arguments. Runs on a snapshot that leaves the ops to the worker as `rawOps`.
import { WorkerEntrypoint } from "cloudflare:workers";
import { generator } from "./values.js";

const ops = globalThis.rawOps;

// Arguments that get past the first checks, a letter each: see `fitting`.
const SIGNATURES = {
  respond: "Kihdb", respondStream: "Kih", requestDone: "K", fail: "Ksss", bodyWrite: "Kd", bodyEnd: "K", bodyAbort: "Ks",
  bodyPull: "K", bodyCancel: "K", bodyPipe: "KK", fetchStart: "suhb", bindingCall: "sssuhb", rpcEncode: "v", rpcDecode: "m",
  fetchCancel: "K", timerStart: "ib", timerCancel: "i", log: "is", exception: "ss", random: "y", encodeUtf8: "s",
  encodeInto: "sy", decodeUtf8: "ybb", structuredClone: "vAf", urlParse: "uU", urlSet: "uCs", utf8Length: "s",
  decodeLatin1: "y", htmlNew: "SkE", htmlResume: "rD", htmlOutput: "r", htmlEnd: "r", htmlSerial: "r", htmlToken: "rnTss",
  tcpConnect: "sibK", socketAnswer: "Kh", socketOpen: "uh", socketSend: "Kd", socketClose: "Kis", socketFlow: "Kb", socketBuffered: "K",
  setCurrentRequest: "K", setAsyncContext: "v", detach: "y", encodingName: "E", decodeAs: "Eybb", decoderNew: "Eb",
  decoderRun: "Hybb", codecNew: "Fiiiiy", codecRun: "Hyiii", codecReset: "H", codecEnd: "H", crc32: "di", digest: "ayb",
  hashStart: "ay", hashUpdate: "Hd", hashCopy: "H", hashEnd: "H", bytesEqual: "yy", keyGenerate: "Biyb", keyImport: "Bxy",
  keyImportJwk: "Bjjjjjjjj", keyExport: "Hx", keyExportJwk: "H", keyInfo: "H", keyPublic: "H", keySign: "HMaiyb",
  keyVerify: "HMaiyyb", keyCrypt: "HbNyyayb", keyAgree: "HH", hkdf: "aHyyi", pbkdf2: "aHyiib", scrypt: "yyiiiiib",
};
const HASHES = ["SHA-1", "sha256", "SHA-384", "SHA-512", "sha512-256", "MD5", "SHA-224", "x"];
const LISTS = {
  a: HASHES,
  B: ["secret", "RSA", "P-256", "P-384", "P-521", "Ed25519", "X25519"],
  x: ["raw", "spki", "pkcs8", "number", "any", "pem"],
  M: ["HMAC", "RSASSA-PKCS1-v1_5", "RSA-PSS", "ECDSA", "ECDSA-DER", "Ed25519"],
  N: ["AES-GCM", "AES-CBC", "AES-CTR", "AES-KW", "RSA-OAEP"],
  F: ["gzip", "gunzip", "deflate", "inflate", "deflateRaw", "inflateRaw", "unzip", "brotliCompress", "brotliDecompress"],
  E: ["utf-16le", "gbk", "shift_jis", "iso-2022-jp", "utf-8", "windows-1252", "big5", "replacement", "x-user-defined"],
  T: ["tagName", "setTagName", "attributes", "getAttribute", "setAttribute", "removeAttribute", "remove", "before", "after",
    "prepend", "append", "setInnerContent", "replace", "onEndTag", "text", "setText", "removeAndKeepContent", "name"],
  C: ["href", "protocol", "username", "password", "host", "hostname", "port", "pathname", "search", "hash"],
  u: ["http://a.b:8/c?d#e", "file:///c:/x/..", "data:,x y", "http://[::1]/", "//x", "non-special:op%ff", "blob:http://a/b",
    "http://xn--a-/", "file://h/", "ws:/\\x\t", "http://1.2.3", "a:b", "javascript:x#\u{1f600}", "", "web+demo:/.//not-a-host/"],
  k: ["e", "ec", "etc", "dCTE", "eeee"],
};

function fitting(kind, g, made, own) {
  const list = LISTS[kind];
  if (list !== undefined) return g.pick(list);
  switch (kind) {
    case "K": return g.pick([own + 65536, own ^ 1, ...made.keys, ...made.keys, g.chance(0.1) ? g.number() : own + 131072]);
    case "i": return g.pick([0, 1, 2, 3, 4, 9, 15, 16, 100, 128, 200, 256, 1024]);
    case "n": return made.serial ?? 1;
    case "h": return g.pick(["", "a\0b\0", "a\0", "\0\0", "x\0y\0".repeat(50), "content-length\0-1\0", "\u0100"]);
    case "b": return g.chance(0.5);
    case "s": return g.string();
    case "d": return g.chance(0.5) ? g.string() : g.bytes();
    case "y": return g.bytes();
    case "j": return g.pick(["", "AQAB", "AAAA", "____", "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "!"]);
    case "H": return g.pick([...made.handles, Promise.resolve(), {}]);
    case "v": return g.value();
    case "A": return g.array(() => g.pick([g.buffer(), g.buffer(), g.value()]));
    case "f": return g.pick([undefined, () => ({}), (x) => x, () => { throw 1; }, () => { g.mutate(); return {}; }]);
    case "U": return g.chance(0.5) ? undefined : g.pick(LISTS.u);
    case "S": return g.array(() => g.pick(["*", "p", "a[b]", ":nth-child(2)", "p >", "x".repeat(2000), ""]), 4);
    case "r": return g.pick([...made.rewriters, g.number()]);
    case "D": return g.pick([true, false, null, true, "<p a=b>x<!--c--></p>", "<!doctype html><a", "<x>".repeat(300), g.bytes()]);
    case "m": {
      let bytes;
      try { bytes = ops.rpcEncode(g.value()).slice(4); } catch { bytes = g.bytes(); }
      if (!(bytes instanceof Uint8Array)) return bytes;
      for (let i = g.int(6); i > 0 && bytes.length > 2; i--) bytes[g.int(bytes.length)] = g.int(256);
      return g.chance(0.2) ? bytes.subarray(0, g.int(bytes.length + 1)) : bytes;
    }
  }
}

/** A message of a session of remote calls, as it should be or changed here and there. */
function message(g) {
  const [id, other] = [g.pick([0, 1, 2, 3, 1e15, -1, NaN]), g.pick([0, 1, 2, 7])];
  const special = () => [[{}], g.pick(["a", 0, "length", "__proto__", null]), g.pick([["t", other], ["m", other], ["r", other], ["w", other], ["h", "a\0b\0"],
    ["q", "GET", "http://a/", "", null], ["q", "POST", "x", "\0", other], ["p", g.pick([200, 204, 99, 600]), "", other], ["x"], []])];
  const specials = () => g.array(special, 4).slice();
  const parts = g.pick([
    [0, id, g.pick([0, 1, 2]), other, g.array(() => g.pick(["give", "take", "call", "own", "again", "x", "constructor", 1]), 4), g.pick([null, [], [1], g.value()]), specials()],
    [1, id, [g.value()], specials()],
    [2, id, g.pick(["Error", "DataCloneError", "__proto__", 1]), g.string()],
    [3, id], [4, other], [5, id], [], g.value(),
  ]);
  let bytes;
  try { bytes = ops.rpcEncode(parts); } catch { bytes = g.bytes(); }
  if (!(bytes instanceof Uint8Array)) return new Uint8Array(8);
  for (let i = g.chance(0.3) ? g.int(4) : 0; i > 0 && bytes.length > 0; i--) bytes[g.int(bytes.length)] = g.int(256);
  return g.chance(0.1) ? bytes.subarray(0, g.int(bytes.length + 1)) : bytes;
}

/** Says anything on the session that it answers, before the runtime says what it should. */
export class Raw extends WorkerEntrypoint {
  noise(seed) {
    const g = generator(seed);
    const own = ops.currentRequest();
    for (let i = g.int(6); i >= 0; i--) try { ops.bodyWrite(own, message(g)); } catch { /* the other side has had enough */ }
    return [() => 1, seed];
  }
  take(...given) {
    return given;
  }
  give() {
    return () => 1;
  }
}

export default {
  async fetch(request, env, ctx) {
    const url = new URL(request.url);
    if (url.pathname === "/fine") return new Response("fine");
    const g = generator(Number(url.searchParams.get("seed")));
    const steps = Number(url.searchParams.get("steps"));
    // Ops that end the request are part of it only where nothing is to be heard of it.
    const ends = new Set(["respond", "respondStream", "requestDone", "fail", "socketAnswer"]);
    const loud = url.searchParams.has("ends");
    const names = Object.keys(ops).filter((name) => loud || !ends.has(name));
    const own = ops.currentRequest();
    const made = { keys: loud ? [own] : [own + 65536], handles: [], rewriters: [], serial: undefined };
    const counts = {};
    g.reenter = () => once();
    let depth = 0;
    function once() {
      if (depth > 3) return;
      depth++;
      const name = g.pick(names);
      // The parts are many and take long; with an odd core they only throw.
      if (name === "part" && g.chance(0.95)) { depth--; return; }
      try {
        const signature = SIGNATURES[name] ?? "";
        let given = [];
        for (const kind of signature) given.push(g.chance(0.85) ? fitting(kind, g, made, own) : g.value());
        if (g.chance(0.05)) given = g.array(() => g.value(), 9).slice();
        // What takes long by design.
        if (name === "scrypt") { given[2] = g.pick([0, 1, 2, 16, 3, NaN, -1]); given[4] = g.pick([0, 1, 2]); }
        if (name === "pbkdf2") given[3] = g.pick([0, 1, 10, NaN]);
        if (name === "keyGenerate" && given[0] === "RSA") given[1] = g.pick([0, 1, 255, 256, 512, 1024, 2 ** 31, NaN]);
        const answer = Reflect.apply(ops[name], g.value(), given);
        counts[name] = (counts[name] ?? 0) + 1;
        if (typeof answer === "object" && answer !== null) {
          if (/^(codecNew|decoderNew|hash|key)/.test(name)) made.handles.push(answer);
          else g.keep(answer);
        }
        if (name === "htmlNew" && typeof answer === "number") made.rewriters.push(answer);
        if (name === "htmlSerial") made.serial = answer;
        if (/^(fetchStart|bindingCall|socketOpen|tcpConnect)$/.test(name)) made.keys.push(answer);
        for (const list of [made.handles, made.keys, made.rewriters]) if (list.length > 40) list.splice(0, 20);
      } catch { /* refusals are fine */ }
      depth--;
    }
    for (let step = 0; step < steps; step++) {
      once();
      // It may have changed whose turn it is, and with it whether there is a request at all.
      if (g.chance(0.5)) ops.setCurrentRequest(own);
      if (g.chance(0.2)) g.mutate();
      if (g.chance(0.01)) {
        ops.setCurrentRequest(own);
        try {
          if (g.chance(0.5)) {
            // What it gets for an answer is kept, to be called again.
            ctx.exports.Raw.noise(g.int(1e9)).then((value) => g.keep(value), () => {});
          } else {
            const session = ops.bindingCall(g.pick(["FRIEND", "SELF", "#Raw", "#"]), "", "", "", "", true);
            for (let i = g.int(8); i >= 0; i--) ops.bodyWrite(session, message(g));
            made.keys.push(session);
          }
        } catch { /* as many as one request may */ }
      }
      if (g.chance(0.005)) await null;
      if (g.chance(0.002)) { ops.setCurrentRequest(own); await new Promise((done) => setTimeout(done, 1)); }
    }
    ops.setCurrentRequest(own);
    return Response.json(counts);
  },
};
