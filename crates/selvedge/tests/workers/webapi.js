// Cases of `webapi.rs`, one a path.
const bytes = (...all) => new Uint8Array(all);
const attempt = async (work) => {
  try {
    return await work();
  } catch (error) {
    return `${error.name}: ${error.message}`;
  }
};
const name = async (work) => (await attempt(work))?.split?.(":")[0];
const through = (body, stream) => new Response(new Response(body).body.pipeThrough(stream));
const pack = async (format, body) => (await through(body, new CompressionStream(format))).bytes();
const unpack = async (format, body) => (await through(body, new DecompressionStream(format))).text();
const FORMATS = ["gzip", "deflate", "deflate-raw", "brotli"];

const told = [];
addEventListener("unhandledrejection", (event) => {
  told.push(`unhandled ${event.reason}`);
  event.preventDefault();
});
addEventListener("rejectionhandled", (event) => told.push(`handled ${event.reason}`));
self.onerror = (message, _file, _line, _column, error) => {
  told.push(`${message} | ${error.message}`);
  return true;
};

const cases = {
  async compression() {
    const out = [];
    for (const format of FORMATS) {
      const packed = await pack(format, "hello ".repeat(1000));
      out.push(packed.length < 200 && (await unpack(format, packed)) === "hello ".repeat(1000));
    }
    return out;
  },
  async transferredStreams() {
    const out = [];
    const source = new ReadableStream({
      start(controller) {
        controller.enqueue({ a: [1] });
        controller.enqueue(bytes(1, 2));
        controller.close();
      },
    });
    const { stream, other } = structuredClone({ stream: source, other: 1 }, { transfer: [source] });
    out.push(source.locked);
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    out.push(stream instanceof ReadableStream, stream !== source, other, chunks[0], chunks[1].length);

    const written = [];
    const sink = new WritableStream({ write: (chunk) => void written.push(chunk), close: () => void written.push("closed") });
    const writer = structuredClone(sink, { transfer: [sink] }).getWriter();
    out.push(sink.locked);
    const sent = { x: 1 };
    await writer.write(sent);
    await writer.write("b");
    await writer.close();
    await new Promise((resolve) => setTimeout(resolve));
    out.push(written, written[0] !== sent);

    const upper = new TransformStream({ transform: (chunk, controller) => controller.enqueue(chunk.toUpperCase()) });
    const moved = structuredClone(upper, { transfer: [upper] });
    out.push(moved instanceof TransformStream, upper.readable.locked, upper.writable.locked);
    const end = moved.writable.getWriter();
    void end.write("up");
    void end.close();
    const reader = moved.readable.getReader();
    out.push((await reader.read()).value, (await reader.read()).done);

    const { port1, port2 } = new MessageChannel();
    const arrived = new Promise((resolve) => (port2.onmessage = resolve));
    const body = new Response("through a port").body;
    port1.postMessage({ body }, [body]);
    out.push(await new Response((await arrived).data.body).text());
    return out;
  },
  async streamsNotTransferred() {
    const out = [];
    const attemptTo = (value, transfer) => name(() => void structuredClone(value, { transfer }));
    const locked = new ReadableStream();
    locked.getReader();
    const busy = new WritableStream();
    busy.getWriter();
    const half = new TransformStream();
    half.readable.getReader();
    for (const stream of [locked, busy, half]) out.push(await attemptTo(stream, [stream]));
    out.push(await attemptTo(new ReadableStream(), []));
    const twice = new ReadableStream();
    structuredClone(twice, { transfer: [twice] });
    out.push(await attemptTo(twice, [twice]));
    const late = new ReadableStream();
    out.push(await attemptTo({ get x() { late.getReader(); } }, [late]));
    const both = new TransformStream();
    out.push(await attemptTo(1, [both, both.readable]));
    // What cannot be copied breaks both sides.
    const strange = new ReadableStream({ pull: (controller) => controller.enqueue(() => 1), cancel: (reason) => void out.push(`canceled ${reason.name}`) }, { highWaterMark: 0 });
    const received = structuredClone(strange, { transfer: [strange] });
    out.push(await name(() => received.getReader().read()));
    let reason;
    const told = new ReadableStream({ cancel: (given) => void (reason = given) });
    const mine = { deep: { a: 1 } };
    await structuredClone(told, { transfer: [told] }).cancel(mine);
    await new Promise((resolve) => setTimeout(resolve));
    out.push(reason, reason !== mine);
    const broken = new ReadableStream({ start: (controller) => controller.error(new RangeError("mine")) });
    out.push(await attempt(() => structuredClone(broken, { transfer: [broken] }).getReader().read()));
    // No faster than it is read.
    let pulls = 0;
    const endless = new ReadableStream({ pull: (controller) => controller.enqueue(pulls++) }, { highWaterMark: 0 });
    const slow = structuredClone(endless, { transfer: [endless] }).getReader();
    await slow.read();
    await new Promise((resolve) => setTimeout(resolve));
    out.push(pulls < 5);
    return out;
  },
  async clonedKeys() {
    const key = await crypto.subtle.importKey("raw", bytes(1, 2, 3), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
    const [copy, again] = structuredClone([key, key]);
    const mac = async (by) => new Uint8Array(await crypto.subtle.sign("HMAC", by, bytes(9))).join();
    const { port1, port2 } = new MessageChannel();
    const arrived = new Promise((resolve) => (port2.onmessage = resolve));
    port1.postMessage({ key, blob: new Blob(["b"]), file: new File(["f"], "f.txt") });
    const { data } = await arrived;
    return [
      copy instanceof CryptoKey, copy !== key, copy === again, copy.extractable, copy.usages, copy.algorithm,
      (await mac(copy)) === (await mac(key)), (await mac(data.key)) === (await mac(key)),
      await data.blob.text(), data.file.name,
      await name(() => crypto.subtle.exportKey("raw", copy)),
      await name(() => structuredClone({ __proto__: CryptoKey.prototype })),
    ];
  },
  async small() {
    const view = bytes(1, 2, 3);
    const before = new Response(view);
    structuredClone(view.buffer, { transfer: [view.buffer] });
    const { port1 } = new MessageChannel();
    const event = new MessageEvent("x", { ports: new Set([port1]) });
    return [
      (await before.bytes()).join(),
      (await new Response(view).bytes()).length,
      (await new Request("http://x/", { method: "POST", body: view.buffer }).bytes()).length,
      event.ports.length,
      event.ports[0] === port1,
      Object.isFrozen(event.ports),
      await name(() => new MessageEvent("x", { ports: [{}] })),
      await name(() => new MessageEvent("x", { ports: 1 })),
      await name(() => new MessageEvent("x", { ports: null })),
      new MessageEvent("x").ports.length,
    ];
  },
  async wasmStreaming() {
    const type = { "content-type": "Application/WASM" };
    const make = (init) => new Response(bytes(0, 97, 115, 109, 1, 0, 0, 0), init);
    const used = make({ headers: type });
    await used.bytes();
    const { compileStreaming, instantiateStreaming } = WebAssembly;
    return [
      await name(() => compileStreaming(make({ headers: type }))),
      await name(() => instantiateStreaming(Promise.resolve(make({ headers: type })), {})),
      await name(() => compileStreaming(make({ headers: { "content-type": "application/wasm; x=y" } }))),
      await name(() => compileStreaming(make())),
      await name(() => compileStreaming(make({ headers: type, status: 404 }))),
      await name(() => compileStreaming(used)),
      await name(() => compileStreaming(bytes(0))),
      await name(() => compileStreaming(Promise.reject(new RangeError("mine")))),
      compileStreaming(make()).catch(() => {}) instanceof Promise,
    ];
  },
  async broken() {
    const out = [];
    for (const format of FORMATS) {
      const packed = await pack(format, "hello");
      out.push(await name(() => unpack(format, packed.slice(0, -1))));
      out.push(await name(() => unpack(format, bytes(...packed, 1))));
      out.push(await name(() => unpack(format, bytes(0xff, 0xff, 0xff, 0xff))));
    }
    out.push(await name(() => new CompressionStream("zip")));
    out.push(await name(() => new Response(new ReadableStream({ start: (c) => c.enqueue("text") }).pipeThrough(new CompressionStream("gzip"))).text()));
    return out;
  },
  async bomb() {
    // 200 MiB in a worker that may have 64.
    const packer = new CompressionStream("gzip");
    const writer = packer.writable.getWriter();
    const packed = new Response(packer.readable).bytes();
    const chunk = new Uint8Array(1 << 20);
    for (let i = 0; i < 200; i++) await writer.write(chunk);
    await writer.close();
    const reader = new Response(await packed).body.pipeThrough(new DecompressionStream("gzip")).getReader();
    let length = 0;
    let largest = 0;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      length += value.length;
      largest = Math.max(largest, value.length);
    }
    return [length, largest <= 65536];
  },
  async manyCodecs() {
    // More than the worker's memory holds, were they not freed.
    for (let i = 0; i < 2000; i++) {
      const packer = new CompressionStream("gzip");
      packer.readable.getReader().read();
      packer.writable.getWriter().write(bytes(1));
      await null;
      if (i % 100 === 0) await scheduler.wait(0);
    }
    for (let i = 0; i < 200; i++) await pack("brotli", "x");
    return "alive";
  },
  async detached() {
    const decoder = new TextDecoder();
    const buffer = new ArrayBuffer(8);
    const view = new Uint8Array(buffer);
    const data = new DataView(buffer);
    structuredClone(buffer, { transfer: [buffer] });
    const text = new TextDecoderStream();
    const reader = text.readable.getReader();
    const writer = text.writable.getWriter();
    writer.write(data);
    writer.close();
    return [decoder.decode(view), decoder.decode(data), new TextDecoder("shift_jis").decode(view), (await reader.read()).done,
      await name(() => structuredClone(buffer, { transfer: [buffer] }))];
  },
  encodings() {
    const korean = new TextDecoder("euc-kr");
    return [
      new TextDecoder("latin1").decode(bytes(0x80, 0xe9)),
      new TextDecoder(" Shift_JIS\n").decode(bytes(0x93, 0xfa, 0x96, 0x7b)),
      korean.decode(bytes(0xb0), { stream: true }) + korean.decode(bytes(0xa1), { stream: true }) + korean.decode(),
      new TextDecoder("utf-16le").decode(bytes(0xff, 0xfe, 65, 0)),
      new TextDecoder("sjis").encoding,
    ];
  },
  async encodingMistakes() {
    return [
      await name(() => new TextDecoder("gbk", { fatal: true }).decode(bytes(0xff))),
      await name(() => new TextDecoder("replacement")),
      await name(() => new TextDecoder("utf-8" + " ".repeat(300) + "x")),
      await name(() => new TextDecoder("utf-8").decode("text")),
    ];
  },
  async clones() {
    const file = structuredClone({ file: new File(["abc"], "a.txt", { type: "text/x", lastModified: 5 }) }).file;
    const error = structuredClone(new RangeError("range", { cause: 5 }));
    const exception = structuredClone(new DOMException("gone", "AbortError"));
    const buffer = new ArrayBuffer(8);
    const moved = structuredClone({ buffer }, { transfer: [buffer] });
    return [file.name, file.type, file.lastModified, await file.text(), error instanceof RangeError, error.cause,
      exception instanceof DOMException, exception.name, exception.code, buffer.byteLength, moved.buffer.byteLength];
  },
  async unclonable() {
    const buffer = new ArrayBuffer(8);
    return [
      await name(() => structuredClone(() => 1)),
      await name(() => structuredClone({ headers: new Headers() })),
      await name(() => structuredClone(new MessageChannel().port1)),
      await name(() => structuredClone(1, { transfer: [buffer, buffer] })),
      await name(() => structuredClone(1, { transfer: [{}] })),
      await attempt(() => structuredClone({ get x() { throw new EvalError("mine"); } })),
      // The getter takes the buffer away while it is on its way.
      await name(() => structuredClone({ get x() { structuredClone(1, { transfer: [buffer] }); return 1; } }, { transfer: [buffer] })),
    ];
  },
  async channel() {
    const { port1, port2 } = new MessageChannel();
    const order = [];
    const three = new Promise((resolve) => {
      port2.onmessage = ({ data }) => order.push(data) === 4 && resolve();
    });
    port1.postMessage({ a: 1 });
    port1.postMessage([2]);
    port1.postMessage(3);
    order.push("before");
    await three;
    const inner = new MessageChannel();
    const arrived = new Promise((resolve) => (port2.onmessage = resolve));
    port1.postMessage("take", [inner.port1]);
    const { ports } = await arrived;
    const answer = new Promise((resolve) => (inner.port2.onmessage = resolve));
    ports[0].postMessage("through");
    const closed = new Promise((resolve) => (port2.onclose = resolve));
    port1.close();
    return [order, (await answer).data, (await closed).type, await name(() => inner.port2.postMessage(1, [inner.port2]))];
  },
  async uncaught() {
    told.length = 0;
    const late = Promise.reject("late");
    setTimeout(() => late.catch(() => {}), 5);
    reportError(new Error("reported"));
    queueMicrotask(() => {
      throw new Error("microtask");
    });
    await scheduler.wait(1);
    setTimeout(() => {
      throw new Error("timer");
    });
    await scheduler.wait(30);
    return told;
  },
  async signals() {
    let hits = 0;
    const controller = new AbortController();
    AbortSignal.any([controller.signal]).addEventListener("abort", () => (hits += 1));
    const target = new EventTarget();
    target.addEventListener("x", () => (hits += 10), { signal: controller.signal });
    target.dispatchEvent(new Event("x"));
    const waiting = name(() => scheduler.wait(60_000, { signal: controller.signal }));
    controller.abort();
    target.dispatchEvent(new Event("x"));
    return [hits, await waiting, await name(() => AbortSignal.abort().throwIfAborted())];
  },
  patterns() {
    const pattern = new URLPattern({ pathname: "/users/:id{/:rest}*" });
    const matched = pattern.exec("https://example.com/users/5/a/b");
    return [matched.pathname.groups, pattern.test("https://example.com/other"), new URLPattern("https://*.example.com/*").hostname,
      new URLPattern({ pathname: "/A" }, { ignoreCase: true }).test({ pathname: "/a" }), new URLPattern({ pathname: "/(\\d+)" }).hasRegExpGroups];
  },
  async poisoned() {
    const boom = () => {
      throw new Error("poison");
    };
    const prototypes = [Array, Promise, Map, Set, WeakMap, String, RegExp, Function, Uint8Array, Object.getPrototypeOf(Uint8Array), ArrayBuffer]
      .map((constructor) => constructor.prototype);
    const { defineProperty, getOwnPropertyDescriptor } = Object;
    const { ownKeys, apply } = Reflect;
    const iterators = [Object.getPrototypeOf([][Symbol.iterator]()), Object.getPrototypeOf(new Map()[Symbol.iterator]())];
    const { then } = Promise.prototype;
    const wait = (promise) => new NativePromise((resolve, reject) => apply(then, promise, [resolve, reject]));
    const NativePromise = Promise;
    const restore = [];
    let at = 0;
    const all = [...prototypes, ...iterators];
    // What the case itself needs has to go through what was taken before.
    for (let i = 0; i < all.length; i++) {
      const keys = ownKeys(all[i]);
      for (let j = 0; j < keys.length; j++) {
        const descriptor = getOwnPropertyDescriptor(all[i], keys[j]);
        if (!descriptor.configurable || keys[j] === "constructor") continue;
        if (all[i] === Function.prototype && keys[j] === Symbol.hasInstance) continue;
        restore[at++] = [all[i], keys[j], descriptor];
      }
    }
    for (let i = 0; i < at; i++) defineProperty(restore[i][0], restore[i][1], { get: boom, configurable: true });
    const results = [];
    let result = 0;
    try {
      const packer = new CompressionStream("gzip");
      const writer = packer.writable.getWriter();
      const reader = packer.readable.getReader();
      const read = reader.read();
      writer.write(new Uint8Array(10));
      writer.close();
      results[result++] = (await wait(read)).done;
      results[result++] = new URLPattern("https://a.example/:x").test("https://a.example/y");
      results[result++] = new TextDecoder("shift_jis").decode(new TextEncoder().encode("abc"));
      results[result++] = structuredClone(new Blob()).size;
      const { port1, port2 } = new MessageChannel();
      const got = new NativePromise((resolve) => (port2.onmessage = resolve));
      port1.postMessage("through");
      results[result++] = (await wait(got)).data;
      const url = new URL("https://a.example/?x=1");
      url.searchParams.append("y", "2");
      results[result++] = url.href;
      const controller = new AbortController();
      let aborted = 0;
      controller.signal.addEventListener("abort", () => aborted++);
      controller.abort();
      results[result++] = aborted;
      results[result++] = atob(btoa("x"));
    } catch (error) {
      results[result++] = `${error.stack}`;
    } finally {
      for (let i = 0; i < at; i++) defineProperty(restore[i][0], restore[i][1], restore[i][2]);
    }
    return results;
  },
  /** `Temporal` is of the worker's own realm, and its clock stands still as `Date`'s does. */
  temporal() {
    const before = new Date(0).toTemporalInstant();
    const began = Date.now();
    const { Now, Instant, Duration } = Temporal;
    return [
      Object.getPrototypeOf(Now) === Object.prototype,
      Object.getPrototypeOf(Instant.prototype) === Object.prototype,
      Object.getPrototypeOf(Now.timeZoneId) === Function.prototype,
      before instanceof Instant,
      Now.instant().epochMilliseconds === began,
      Now.zonedDateTimeISO("UTC").epochMilliseconds === began,
      Now.plainDateISO("UTC").toString() === new Date(began).toISOString().slice(0, 10),
      Duration.from({ hours: 1 }).total("minutes"),
      Temporal === globalThis.Temporal,
      Now.instant.name,
    ];
  },
};

export default {
  async fetch(request) {
    const path = new URL(request.url).pathname.slice(1);
    return Response.json(await attempt(cases[path]));
  },
};
