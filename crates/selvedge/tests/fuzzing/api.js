// Builds random programs over everything that a worker can reach: constructors, functions, methods on right and wrong
// receivers, properties; across awaits.
import * as workers from "cloudflare:workers";
import * as sockets from "cloudflare:sockets";
import * as nodeCrypto from "node:crypto";
import * as nodeBuffer from "node:buffer";
import * as nodeStream from "node:stream";
import * as nodeUtil from "node:util";
import * as nodeZlib from "node:zlib";
import * as nodeUrl from "node:url";
import * as nodeEvents from "node:events";
import * as nodeHooks from "node:async_hooks";
import * as nodeText from "node:string_decoder";
import { generator } from "./values.js";

const MODULES = { workers, sockets, nodeCrypto, nodeBuffer, nodeStream, nodeUtil, nodeZlib, nodeUrl, nodeEvents, nodeHooks, nodeText };
// These would only stop the fuzzer itself, or take long by design.
const LEFT_OUT = /^(debugger|eval|gc|abort|waitUntil|pbkdf2|scrypt|generateKeyPair|generatePrime|checkPrime|createDiffieHellman|reportError|queueMicrotask|setInterval)/;

/** Every function and object within reach, found once. */
function survey() {
  const classes = [], functions = [], objects = [], seen = new Set();
  const visit = (holder, depth) => {
    if (holder === null || (typeof holder !== "object" && typeof holder !== "function") || seen.has(holder)) return;
    seen.add(holder);
    for (const name of Reflect.ownKeys(holder)) {
      if (typeof name === "string" && LEFT_OUT.test(name)) continue;
      let value;
      try { value = holder[name]; } catch { continue; }
      if (typeof value === "function") {
        functions.push([holder, value]);
        if (value.prototype !== undefined) classes.push(value);
      }
      if (typeof value === "object" && value !== null) objects.push(value);
      if (depth < 3) visit(value, depth + 1);
      const own = Object.getOwnPropertyDescriptor(holder, name);
      for (const accessor of [own?.get, own?.set]) if (accessor !== undefined) functions.push([holder, accessor]);
    }
  };
  visit(globalThis, 0);
  for (const module of Object.values(MODULES)) visit(module, 1);
  const own = /^(Object|Function|Array|Number|Parser|Float\d+Array|Symbol|Date|Promise|RegExp|AggregateError|\w*Error|JSON|Math|Intl|Proxy|Map|BigInt|Set|WeakMap|WeakSet|WeakRef|Reflect|Iterator|\w*Collator|\w*Format|Boolean|String|Locale|Temporal|\w*Int\d+Array)$/;
  return { classes, ours: classes.filter((made) => !own.test(made.name)), functions, objects };
}

// Makes what the friend gives, by names that mean something and names that mean none.
const MEMBERS = ["give", "take", "call", "thing", "own", "again", "fail", "fetch", "dup", "then", "catch", "finally", "onRpcBroken", "constructor", "__proto__",
  "read", "cancel", "getReader", "getWriter", "write", "x", Symbol.dispose, Symbol.toStringTag, Symbol.toPrimitive, 0];

const settled = Promise.resolve.bind(Promise);

let world;
const tame = (value) => (typeof value === "number" && Math.abs(value) > 1e6 ? 1000 : value);

export default {
  async fetch(request, env, ctx) {
    const url = new URL(request.url);
    if (url.pathname === "/fine") return new Response("fine");
    const [URLs, later, reply] = [url.searchParams, setTimeout, Response.json.bind(Response)];
    const g = generator(Number(URLs.get("seed")));
    const steps = Number(URLs.get("steps"));
    world ??= survey();
    const { classes, ours, functions, objects } = world;
    let done = 0;
    const texts = ["gzip", "deflate-raw", "https://a.b/c?d", "*", "p", "utf-16le", "SHA-256", "AES-GCM", "ECDSA", "P-256", "raw", "jwk", "sign",
      "encrypt", "/:a*", "<p>x</p>", "end", "data", "GET", "POST", "text/plain", "a=b&c=d", "message", "error", "bytes", "byob", "base64", "hex"];
    const words = () => g.pick([
      g.pick(texts),
      { name: g.pick(["AES-GCM", "AES-CBC", "AES-CTR", "HMAC", "ECDSA", "Ed25519", "ECDH", "HKDF", "RSA-OAEP"]), hash: "SHA-256", namedCurve: "P-256",
        length: g.pick([64, 128, 256]), iv: g.bytes(), counter: g.bytes(), salt: g.bytes(), info: g.bytes(), additionalData: g.bytes() },
      { hostname: g.pick(["127.0.0.1", "[::1]", "a.b", "", "x".repeat(300)]), port: g.number(), secureTransport: g.pick(["on", "off", "starttls"]), allowHalfOpen: g.chance(0.5) },
      g.pick(["aes-256-gcm", "aes-128-cbc", "aes-192-ctr", "sha256", "md5", "rsa", "ec", "ed25519", "x25519", "pkcs8", "spki", "pem", "der", "pkcs1"]),
      { key: g.bytes(), format: g.pick(["pem", "der", "jwk"]), type: g.pick(["pkcs8", "spki", "sec1", "pkcs1"]), padding: g.number(), saltLength: g.number(),
        dsaEncoding: "ieee-p1363", authTagLength: g.number(), modulusLength: 512, namedCurve: "P-256", publicKeyEncoding: {}, privateKeyEncoding: {} },
      ["sign", "verify", "encrypt", "decrypt", "deriveBits", "deriveKey"],
      { type: "bytes", pull(c) { c.byobRequest ? c.byobRequest.respond(g.number()) : c.enqueue(g.bytes()); }, autoAllocateChunkSize: 16 },
      { start(c) { g.keep(c); }, pull(c) { c.enqueue(g.value()); if (g.chance(0.3)) c.close(); }, transform(x, c) { c.enqueue(x); }, write() { g.mutate(); } },
      { element(e) { g.keep(e); e.before(g.string()); }, text(t) { g.keep(t); }, comments(c) { g.keep(c); c.remove(); }, end(e) { g.keep(e); } },
      { method: "POST", body: g.value(), duplex: "half" },
      () => { g.mutate(); return g.value(); },
      g.chance(0.5),
    ]);
    const argument = () => tame(g.chance(0.45) ? words() : g.value());
    const arguments_ = () => g.array(argument, 5).slice();
    const use = (made) => {
      if (made instanceof Promise) made.then((value) => g.keep(value), () => {});
      else if (made !== null && (typeof made === "object" || typeof made === "function")) g.keep(made);
    };
    const method = (receiver) => {
      const names = [];
      for (let at = receiver, i = 0; at !== null && at !== Object.prototype && at !== Function.prototype && i < 6; at = Object.getPrototypeOf(at), i++) {
        names.push(...Reflect.ownKeys(at).slice(0, 60));
      }
      const name = g.pick(names);
      if (name === undefined || (typeof name === "string" && LEFT_OUT.test(name))) return;
      const value = receiver[name];
      if (typeof value === "function") use(Reflect.apply(value, receiver, arguments_()));
      else if (g.chance(0.3)) receiver[name] = argument();
      else use(value);
    };
    /** Calls, or reads, a member of another worker or of what it gave. */
    const remote = () => {
      const stubs = g.kept.filter((made) => typeof made === "function" && Object.getPrototypeOf(made) === null);
      const target = stubs.length > 0 && g.chance(0.6) ? g.pick(stubs) : g.pick([env.FRIEND, env.SELF, ctx.exports?.default, ctx.exports?.Own]);
      let member = target;
      for (let i = g.int(3); i >= 0; i--) member = member[g.pick(MEMBERS)];
      if (typeof member !== "function") return use(member);
      const plain = () => g.array(() => g.pick([1, "a", { a: [1] }, (value) => value, () => g.value(), g.bytes()]), 3).slice();
      const made = g.chance(0.85) ? Reflect.apply(member, target, g.chance(0.6) ? plain() : arguments_()) : member;
      // Some promises are called as they are, and some awaited.
      use(g.chance(0.5) ? made : settled(made));
    };
    const step = () => {
      switch (g.int(12)) {
        case 10: case 11: return remote();
        case 0: case 1: case 2: { const made = g.pick(g.chance(0.9) ? ours : classes); return use(Reflect.construct(made, arguments_())); }
        case 3: { const [holder, f] = g.pick(functions); return use(Reflect.apply(f, g.chance(0.5) ? holder : g.value(), arguments_())); }
        case 4: return method(g.pick(objects));
        case 5: return g.mutate();
        default: if (g.kept.length > 0) return method(g.pick(g.kept));
      }
    };
    g.reenter = () => { try { step(); } catch { /* refused */ } };
    for (let i = 0; i < steps; i++) {
      try { step(); done++; } catch { /* refused */ }
      try {
        if (g.chance(0.02)) await null;
        if (g.chance(0.01)) await new Promise((wake) => later(wake, 1));
        // A random piece of what it made is answered, now and then.
        if (g.chance(0.001) && g.kept.length > 0) ctx.waitUntil(new Response(g.pick(g.kept)).arrayBuffer().catch(() => {}));
      } catch { /* the fuzzer has broken its own tools */ }
    }
    return reply({ done });
  },
};

/** What it calls of itself. */
export class Own extends workers.WorkerEntrypoint {
  give() {
    return [() => 1, new workers.RpcTarget(), new ReadableStream()];
  }
  take(...given) {
    return given;
  }
  async call(back, ...given) {
    return back(...given);
  }
}
