// A stand-in for the isolate host: the ops of src/ops.d.ts on Node, the bundle in a bare context.
import { execFileSync } from "node:child_process";
import { createHash, webcrypto } from "node:crypto";
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deserialize, serialize } from "node:v8";
import { types } from "node:util";
import vm from "node:vm";
import { fileURLToPath } from "node:url";

let scripts;

/** The core's text and the parts', built once per test process. */
export function bundle() {
  if (scripts === undefined) {
    const out = mkdtempSync(join(tmpdir(), "selvedge-runtime-"));
    const cwd = fileURLToPath(new URL("..", import.meta.url));
    execFileSync(process.execPath, ["build.mjs"], { cwd, env: { ...process.env, OUT_DIR: out } });
    const pack = readFileSync(join(out, "runtime.pack"));
    let at = 0;
    const field = () => pack.toString("utf8", at + 4, (at += 4 + pack.readUInt32LE(at)));
    scripts = {};
    while (at < pack.length) scripts[field()] = field();
  }
  return scripts;
}

/** A head string from pairs. */
export const head = (fields = {}) =>
  Object.entries(fields)
    .map(([name, value]) => `${name}\0${value}\0`)
    .join("");

/** The fields of a head string; repeated ones as arrays. */
export function fields(text) {
  const out = {};
  const parts = text.split("\0");
  for (let i = 0; i + 1 < parts.length; i += 2) {
    const [name, value] = [parts[i], parts[i + 1]];
    out[name] = name in out ? [out[name], value].flat() : value;
  }
  return out;
}

/** As far as Node tells. */
function innards(value) {
  if (types.isProxy(value)) return ["proxy", {}, {}];
  if (types.isPromise(value)) return ["promise", 0, undefined];
  if (types.isNativeError(value)) return ["error"];
  if (types.isArgumentsObject(value)) return ["arguments"];
  return undefined;
}

/** The answer of `urlParse`, made with Node's parser. */
function pack(url) {
  const { href } = url;
  const schemeEnd = url.protocol.length - 1;
  const hasAuthority = href.startsWith("//", schemeEnd + 1);
  let [usernameEnd, hostStart, hostEnd] = [schemeEnd + 1, schemeEnd + 1, schemeEnd + 1];
  if (hasAuthority) {
    usernameEnd = schemeEnd + 3 + url.username.length;
    hostStart = usernameEnd;
    if (url.password !== "") hostStart += 1 + url.password.length;
    if (url.username !== "" || url.password !== "") hostStart += 1;
    hostEnd = hostStart + url.hostname.length;
  }
  const fragment = href.indexOf("#");
  const beforeFragment = fragment < 0 ? href : href.slice(0, fragment);
  const query = beforeFragment.indexOf("?");
  const pathEnd = query >= 0 ? query : beforeFragment.length;
  const port = url.port === "" ? -1 : Number(url.port);
  const at = [schemeEnd, usernameEnd, hostStart, hostEnd, port, pathEnd - url.pathname.length, query, fragment];
  return `${href}\0${at.join(",")}`;
}

/** Outgoing bytes that a stream may have under way before its credit is exhausted. */
export const CREDIT = 65536;

export class Host {
  calls = [];
  logs = [];
  exceptions = [];
  responses = new Map();
  subrequests = [];
  streams = new Map();
  timers = new Map();
  time = 1_700_000_000_000;
  current = 0;
  nextKey = 1;
  nextTimer = 1;
  subrequestLimit = 50;

  constructor() {
    const host = this;
    this.context = vm.createContext(vm.constants?.DONT_CONTEXTIFY ?? {}, { codeGeneration: { strings: false } });
    const inContext = (text) => vm.runInContext(text, this.context);
    this.realm = {
      Uint8Array: inContext("Uint8Array"),
      TypeError: inContext("TypeError"),
      Error: inContext("Error"),
      Array: inContext("Array"),
    };
    const { realm } = this;
    const bytes = (from) => realm.Uint8Array.from(from);
    const stream = (key) => {
      let found = host.streams.get(key);
      if (found === undefined) host.streams.set(key, (found = { incoming: [], out: [], credit: CREDIT }));
      return found;
    };
    const ops = {
      // Coding itself is tested on the real host.
      codecNew: () => ({}),
      respond: (key, status, headText, body, done) => {
        host.calls.push(["respond", key]);
        const text = typeof body === "string" ? body : body === undefined ? undefined : Buffer.from(body).toString();
        host.responses.set(key, { status, head: fields(headText), body: text, done, ended: true });
      },
      respondStream: (key, status, headText) => {
        host.calls.push(["respondStream", key]);
        stream(key);
        host.responses.set(key, { status, head: fields(headText), body: "", done: false, ended: false });
      },
      requestDone: (key) => {
        host.calls.push(["requestDone", key]);
        const response = host.responses.get(key);
        if (response !== undefined) {
          if (response.done) throw new Error("requestDone came twice");
          response.done = true;
        } else {
          host.responses.set(key, { status: 204, head: {}, done: true, ended: true });
        }
      },
      fail: (key, kind, message, stack) => {
        host.calls.push(["fail", key]);
        host.responses.set(key, { failed: kind, message, stack, done: true });
      },
      bodyWrite: (key, chunk) => {
        const { out } = stream(key);
        if (stream(key).gone) throw new realm.TypeError("The stream is closed.");
        const data = Buffer.from(chunk);
        out.push(data);
        stream(key).credit -= data.length;
        const response = host.responses.get(key);
        if (response !== undefined) response.body += data.toString();
        return stream(key).credit;
      },
      bodyEnd: (key) => {
        host.calls.push(["bodyEnd", key]);
        const response = host.responses.get(key);
        if (response !== undefined) response.ended = true;
        stream(key).ended = true;
      },
      bodyAbort: (key, message) => {
        host.calls.push(["bodyAbort", key]);
        const response = host.responses.get(key);
        if (response !== undefined) response.aborted = message;
      },
      bodyPull: (key) => {
        const from = stream(key);
        if (from.incoming.length > 0) {
          const next = from.incoming.shift();
          if (next === null) from.incoming.unshift(null);
          if (next instanceof Error) throw new realm.TypeError(next.message);
          return next === null ? null : bytes(Buffer.from(next));
        }
        from.wantsRead = true;
        return undefined;
      },
      bodyText: (key) => {
        const from = stream(key);
        from.whole ??= [];
        while (from.incoming.length > 0 && from.incoming[0] !== null) {
          const next = from.incoming.shift();
          if (next instanceof Error) throw new realm.TypeError(next.message);
          from.whole.push(Buffer.from(next));
        }
        if (from.incoming[0] === null) return new TextDecoder().decode(Buffer.concat(from.whole));
        from.wantsRead = true;
        return undefined;
      },
      bodyPipe: (from, to) => {
        host.calls.push(["bodyPipe", from, to]);
        const target = stream(to);
        if (target.gone || target.ended) return 2;
        stream(from).pipedTo = to;
        return host.relay(from) ? 1 : 0;
      },
      bodyCancel: (key) => {
        host.calls.push(["bodyCancel", key]);
        stream(key).cancelled = true;
      },
      fetchStart: (method, url, headText, hasBody) => {
        if (host.subrequests.length >= host.subrequestLimit) throw new realm.Error("This request has reached its limit of subrequests.");
        const key = 0x10000 * 3 + 1000 + host.nextKey++;
        stream(key);
        host.subrequests.push({ key, method, url, head: fields(headText), hasBody });
        return key;
      },
      fetchCancel: (key) => {
        host.calls.push(["fetchCancel", key]);
      },
      timerStart: (ms, repeat) => {
        const token = host.nextTimer++;
        host.timers.set(token, { ms, due: host.time + ms, repeat, request: host.current });
        return token;
      },
      timerCancel: (token) => host.timers.delete(token),
      log: (level, message) => host.logs.push({ level, message }),
      exception: (message, stack) => host.exceptions.push({ message, stack, request: host.current }),
      now: () => host.time,
      random: (view) => {
        webcrypto.getRandomValues(new Uint8Array(view.buffer, view.byteOffset, view.byteLength));
      },
      encodeUtf8: (text) => bytes(Buffer.from(text.toWellFormed())),
      utf8Length: (text) => Buffer.byteLength(text),
      encodeInto: (text, target) => {
        const { read, written } = new TextEncoder().encodeInto(text, new Uint8Array(target.buffer, target.byteOffset, target.byteLength));
        return realm.Array.of(read, written);
      },
      decodeUtf8: (view, fatal, ignoreBOM) => {
        try {
          return new TextDecoder("utf-8", { fatal, ignoreBOM }).decode(view);
        } catch (error) {
          throw new realm.TypeError(error.message);
        }
      },
      digest: (hash, view) => {
        const name = hash.toLowerCase().replace(/^sha-/, "sha");
        return new Uint8Array(createHash(name).update(Buffer.from(view.buffer, view.byteOffset, view.byteLength)).digest()).buffer;
      },
      decodeLatin1: (view) => Buffer.from(view.buffer, view.byteOffset, view.byteLength).toString("latin1"),
      encodingName: (label) => {
        try {
          return new TextDecoder(label).encoding;
        } catch {
          return undefined;
        }
      },
      decodeAs: (label, view, fatal, ignoreBOM) => ops.decoderRun(ops.decoderNew(label, ignoreBOM), view, fatal, true),
      decoderNew: (label, ignoreBOM) => ({ label, ignoreBOM }),
      decoderRun: (decoder, view, fatal, last) => {
        try {
          decoder.real ??= new TextDecoder(decoder.label, { fatal, ignoreBOM: decoder.ignoreBOM });
          return decoder.real.decode(view, { stream: !last });
        } catch (error) {
          throw new realm.TypeError(error.message);
        }
      },
      urlParse: (input, base) => {
        try {
          return pack(new URL(input, base));
        } catch {
          return undefined;
        }
      },
      urlSet: (href, component, value) => {
        try {
          const url = new URL(href);
          url[component] = value;
          return pack(url);
        } catch {
          return undefined;
        }
      },
      innards,
      structuredClone: (value, transfer) => {
        if (transfer.length > 0) return structuredClone(value, { transfer: [...transfer] });
        try {
          host.scratch = value;
          return deserialize(serialize(value));
        } catch (error) {
          throw Object.assign(new realm.Error(error.message), { name: "DataCloneError" });
        }
      },
      detach: (view) => structuredClone(view.buffer, { transfer: [view.buffer] }),
      part: (name, core) => vm.runInContext(bundle()[name], host.context, { filename: `selvedge:runtime/${name}` })(core),
      asyncContext: () => host.asyncContext,
      setAsyncContext: (value) => {
        host.asyncContext = value;
      },
      currentRequest: () => host.current,
      setCurrentRequest: (key) => {
        host.current = key;
      },
    };
    this.ops = ops;
    this.context.__ops = ops;
    // Node 20 has neither.
    if (inContext("ArrayBuffer.prototype.transfer") === undefined) {
      this.context.__move = (buffer) => structuredClone(buffer, { transfer: [buffer] });
      inContext(`{
        const move = __move;
        const gone = new WeakSet();
        const isGone = gone.has.bind(gone);
        const mark = gone.add.bind(gone);
        const toOwn = Object.setPrototypeOf;
        const own = ArrayBuffer.prototype;
        Object.defineProperty(own, "transfer", { configurable: true, writable: true, value: function transfer() {
          const moved = toOwn(move(this), own);
          mark(this);
          return moved;
        } });
        const bytes = Uint8Array;
        Object.defineProperty(own, "detached", { configurable: true, get() {
          if (isGone(this)) return true;
          try { new bytes(this); return false; } catch { return true; }
        } });
        delete globalThis.__move;
      }`);
    }
    vm.runInContext(bundle().runtime, this.context, { filename: "selvedge:runtime" });
    this.entry = this.context.__selvedge;
    inContext("delete globalThis.__selvedge");
  }

  /** Evaluates an expression, usually an object with handlers, as a worker's default export. */
  worker(expression, env = []) {
    this.main = vm.runInContext(`(${expression})`, this.context, { filename: "worker.js" });
    return this.entry.init({ default: this.main }, JSON.stringify(env), "test");
  }

  /** Evaluates text in the worker's realm. */
  run(text) {
    return vm.runInContext(text, this.context, { filename: "worker.js" });
  }

  /** Lets microtasks run until nothing more follows from them. */
  async settle() {
    for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
  }

  /** Delivers a request; returns its key. */
  dispatch(url = "http://example.com/", { method = "GET", headers = {}, body } = {}) {
    const key = 0x10000 + this.nextKey++;
    this.current = key;
    if (body !== undefined) {
      this.streams.set(key, { incoming: body.map((chunk) => chunk), out: [], credit: CREDIT });
    }
    this.entry.fetch(key, method, url, head(headers), body !== undefined);
    return key;
  }

  /** Delivers a request and waits for its response. */
  async fetch(url, options) {
    const key = this.dispatch(url, options);
    await this.settle();
    return this.responses.get(key);
  }

  /** Moves what has arrived along a pipe; true while more may come. */
  relay(from) {
    const source = this.streams.get(from);
    const to = source.pipedTo;
    for (;;) {
      const chunk = source.incoming.shift();
      if (chunk === undefined) return true;
      if (chunk === null) {
        this.ops.bodyEnd(to);
        source.pipedTo = undefined;
        return false;
      }
      if (chunk instanceof Error) {
        source.pipedTo = undefined;
        throw new this.realm.TypeError(chunk.message);
      }
      this.ops.bodyWrite(to, Buffer.from(chunk));
    }
  }

  /** Adds chunks to an incoming body, as the wire would. */
  async feed(key, ...chunks) {
    const stream = this.streams.get(key);
    stream.incoming.push(...chunks);
    if (stream.pipedTo !== undefined) {
      const to = stream.pipedTo;
      let error = "";
      let more = false;
      try {
        more = this.relay(key);
      } catch (thrown) {
        error = thrown.message;
      }
      if (!more) this.entry.piped(to, error);
      await this.settle();
      return;
    }
    if (stream.wantsRead) {
      stream.wantsRead = false;
      this.entry.readable(key);
    }
    await this.settle();
  }

  /** Gives an outgoing body its credit back. */
  async grant(key) {
    this.streams.get(key).credit = CREDIT;
    this.entry.writable(key);
    await this.settle();
  }

  /** Moves the clock and fires what is due, in order. */
  async advance(ms) {
    const until = this.time + ms;
    for (;;) {
      const due = [...this.timers].filter(([, timer]) => timer.due <= until).sort((a, b) => a[1].due - b[1].due || a[0] - b[0]);
      if (due.length === 0) break;
      const [token, timer] = due[0];
      this.time = Math.max(this.time, timer.due);
      if (timer.repeat) timer.due += Math.max(timer.ms, 1);
      else this.timers.delete(token);
      this.current = timer.request;
      this.entry.timer(token);
      await this.settle();
    }
    this.time = until;
  }
}
