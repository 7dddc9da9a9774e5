// Node's modules against Node itself: each expression gives the same there and here.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";
import { Host } from "./host.mjs";

const own = createRequire(import.meta.url);
const AsyncFunction = (async () => undefined).constructor;

/** A host with Node's modules on, and `require` for them. */
function nodeHost(env = []) {
  const host = new Host();
  // Workers have neither.
  host.run("delete globalThis.Atomics, delete globalThis.SharedArrayBuffer");
  host.entry.start(JSON.stringify(env), 1);
  host.run("setTimeout");
  host.context.require = (id) => host.entry.builtin(`node:${id.replace(/^node:/, "")}`).default;
  return host;
}

const outcome = `(make) => { try { const value = make(); return value === undefined ? "undefined" : JSON.stringify(value); } catch (e) { return "throws " + e.name + " " + (e.code ?? ""); } }`;

const EXPRESSIONS = {
  path: [
    "p.join('/a', '..', 'b', './c/')", "p.resolve('/a/b', '../c')", "p.normalize('/a//b/../c/.')", "p.basename('/a/b.txt', '.txt')",
    "p.dirname('/a/b/c')", "p.extname('a.b.c')", "p.extname('.bashrc')", "p.isAbsolute('/a')", "p.relative('/a/b/c', '/a/d')",
    "p.parse('/data/u/file.txt')", "p.format({ dir: '/a', base: 'b.c' })", "p.format({ root: '/', name: 'f', ext: '.t' })", "p.sep + p.delimiter",
    "p.win32.join('a', '..', 'b\\\\c')", "p.win32.resolve('C:\\\\a', '..\\\\b')", "p.win32.parse('C:\\\\p\\\\f.txt')", "p.win32.normalize('C:/a/../b')",
    "p.win32.isAbsolute('C:/')", "p.win32.relative('C:\\\\a\\\\b', 'C:\\\\a\\\\c')", "p.win32.basename('C:\\\\x.y')", "p.win32.dirname('\\\\\\\\server\\\\share\\\\d')",
    "p.join()", "p.normalize('')", "p.basename('/a/b/')", "p.dirname('a')", "p.relative('/a', '/a')",
  ],
  querystring: [
    "p.parse('a=1&b=2&a=3')", "p.parse('a=%20b+c&d')", "p.parse('a:1;b:2', ';', ':')", "p.stringify({ a: [1, 2], b: 'x y', c: true, d: null })",
    "p.stringify({ a: 1n, b: NaN, c: 'ü' })", "p.stringify({ a: 'b' }, ';', ':')", "p.escape(\"a'(b)*!~\")", "p.unescape('%zz%41')", "p.parse('%ff=1')",
    "p.parse('a=1&b=2', null, null, { maxKeys: 1 })", "p.stringify('x')", "p.parse(3)", "p.parse('=&&a==b')", "p.encode({})",
  ],
  url: [
    "p.parse('http://u:p@h.example:8080/p/a?q=1#f')", "p.parse('/a?b=c', true).query.b", "p.format({ protocol: 'https', host: 'a.b', pathname: '/x', query: { y: 1 } })",
    "p.resolve('http://a.b/c/d', '../e')", "p.resolve('/one/two', 'three')", "p.fileURLToPath('file:///a%20b')", "p.fileURLToPath('http://x')",
    "p.pathToFileURL('/a b#c?').href", "p.domainToASCII('español.com')", "p.domainToUnicode('xn--espaol-zwa.com')",
    "p.urlToHttpOptions(new p.URL('https://u:p@[::1]:81/p?q')).hostname", "p.format(new p.URL('http://u:p@a/b?c#d'), { auth: false, fragment: false })",
    "new p.URL('http://x/?a=1').searchParams.get('a')", "p.parse('mailto:a@b.c').href", "p.fileURLToPath(3)",
  ],
  buffer: [
    "B.from('héllo').toString('hex')", "B.from('aGk', 'base64').toString()", "B.from('aGk_-w', 'base64url').toString('base64')", "B.from('+/8').toString('base64url')",
    "B.from([1, 256, -1])", "B.alloc(3, 'ab')", "B.concat([B.from('a'), B.from('b')]).toString()", "B.from('abc').equals(B.from('abc'))", "B.compare(B.from('a'), B.from('b'))",
    "B.byteLength('ü')", "B.byteLength('aGk=', 'base64')", "B.isEncoding('base64url')", "B.isEncoding('nope')", "B.from('ÿ', 'latin1')", "B.from('hi', 'utf16le')",
    "B.from('abcdef').subarray(1, 3).toString()", "B.from('abcabc').indexOf('c')", "B.from('abcabc').lastIndexOf('b')", "B.from('abc').includes('bc')", "B.from('0102', 'hex').readUInt16BE(0)",
    "(() => { const b = B.alloc(8); b.writeDoubleLE(1.5); return b; })()", "(() => { const b = B.alloc(8); b.writeBigInt64BE(-2n); return b.readBigInt64BE().toString(); })()",
    "(() => { const b = B.alloc(4); b.writeInt32LE(-5); return b.readInt32LE() + b.readUint8(0); })()", "B.from('abcd').swap16().toString()", "B.from('abc').toJSON()",
    "B.from('abc').fill('x', 1).toString()", "B.from('x').toString('nope')", "B.from([0xff, 0xfe]).toString()", "B.from([0xe2, 0x82]).toString()",
    "p.isUtf8(B.from([0xff]))", "p.isAscii(B.from('a'))", "p.transcode(B.from('€'), 'utf8', 'ascii').toString()", "B.from('abc').write('zz', 1)", "B.from('a').compare(B.from('b'))",
    "B.from(new Uint8Array([1, 2]).buffer)", "B.isBuffer(B.alloc(1)) && !B.isBuffer(new Uint8Array(1))", "B.from('test').latin1Slice(1, 3)", "B.from('abc').toString('utf8', 1, 2)", "B.from('zz', 'hex')",
    "B.from('\\ufeffa').toString().length", "B.from('abc').readUIntBE(0, 3)", "B.copyBytesFrom(new Uint16Array([1, 2]), 1)",
  ],
  string_decoder: [
    "(() => { const d = new p.StringDecoder('utf8'); return [d.write(Buffer.from([0xe2, 0x82])), d.write(Buffer.from([0xac])), d.end()]; })()",
    "(() => { const d = new p.StringDecoder('base64'); return [d.write(Buffer.from('a')), d.end(Buffer.from('bc'))]; })()",
    "(() => { const d = new p.StringDecoder('utf16le'); return [d.write(Buffer.from([0x61])), d.end(Buffer.from([0]))]; })()",
    "(() => { const d = new p.StringDecoder(); return d.end(Buffer.from([0xc3])); })()",
  ],
  util: [
    "p.format('%s %d %i %f %j %o %O %%', 'a', 1.5, 2.7, '3.1', { a: 1 }, [1], { b: 2 })", "p.format('x', { a: { b: { c: { d: 1 } } } })", "p.format('%s', null, undefined, 3n, Symbol('s'))", "p.format('%c!', 'css')",
    "p.inspect({ a: 1, b: 'x', c: [1, 2, { d: new Map([[1, new Set([2])]]) }] })", "p.inspect(new Map([['a', { b: [] }]]), { depth: 0 })", "p.inspect([,'a',,])", "p.inspect(Object.create(null))",
    "p.inspect(class A {})", "p.inspect(function f() {})", "p.inspect(Symbol('x'))", "p.inspect('a\\'b')", "p.inspect(-0)", "p.inspect(new Date(0))", "p.inspect(/a/g)", "p.inspect({ get a() { return 1; } })",
    "p.inspect({ [p.inspect.custom]() { return 'mine'; } })", "p.inspect(Buffer.from('ab'))", "p.inspect({ a: 1n, b: undefined, c: null })", "p.inspect('x'.repeat(5), { colors: true })", "p.inspect(new Array(200).fill(7))",
    "p.inspect(new (class Foo { x = 1; })())", "(() => { const o = {}; o.o = o; return p.inspect(o); })()", "p.inspect(new Uint8Array(3))", "p.inspect([1, [2, [3, [4, [5]]]]])",
    "p.isDeepStrictEqual({ a: [1] }, { a: [1] })", "p.isDeepStrictEqual([1], ['1'])", "p.types.isDate(new Date())", "p.types.isRegExp({})", "p.types.isMap(new Map())", "p.types.isTypedArray(new DataView(new ArrayBuffer(1)))",
    "p.types.isUint8Array(Buffer.alloc(1))", "p.types.isAsyncFunction(async () => 1)", "p.types.isGeneratorFunction(function* () {})", "p.types.isBoxedPrimitive(Object(1n))", "p.types.isNativeError(new TypeError())", "p.types.isArrayBuffer(new ArrayBuffer(1))",
    "p.types.isPromise(Promise.resolve())", "p.types.isProxy({})", "p.types.isArgumentsObject((function () { return arguments; })())",
    "p.parseArgs({ args: ['-f', '--bar', 'b', 'pos'], options: { foo: { type: 'boolean', short: 'f' }, bar: { type: 'string' } }, allowPositionals: true })",
    "p.parseArgs({ args: ['--no', '--x=1'], strict: false })", "p.parseArgs({ args: ['--nope'], options: {} })", "p.parseArgs({ args: ['-vvo', 'x'], options: { v: { type: 'boolean', short: 'v', multiple: true }, o: { type: 'string', short: 'o' } } })",
    "p.parseArgs({ args: ['--a'], options: { a: { type: 'string' } } })", "p.parseArgs({ args: ['x'] })", "p.parseArgs({ args: ['--', '-x'], allowPositionals: true, tokens: true })",
    "p.styleText('nope', 'x')", "p.stripVTControlCharacters('\\u001b[31mx\\u001b[0m')", "p.toUSVString('\\ud800')", "p.promisify(3)",
    "p.inherits(function A() {}, 3)", "(() => { function A() {} function B() {} p.inherits(A, B); return new A() instanceof B && A.super_ === B; })()", "p.callbackify(async () => 1).name", "p.deprecate(() => 4, 'old')()",
  ],
  events: [
    "(() => { const e = new p(); const l = []; e.on('a', (x) => l.push(x)); e.once('a', (x) => l.push(-x)); e.prependListener('a', () => l.push('p')); e.emit('a', 1); e.emit('a', 2); return l; })()",
    "new p().emit('error', new TypeError('x'))", "(() => { const e = new p(); e.on('x', () => 0); return [e.eventNames(), e.listenerCount('x'), p.getEventListeners(e, 'x').length]; })()",
    "(() => { const e = new p(); let n = 0; e.on(p.errorMonitor, () => n++); try { e.emit('error', new Error()); } catch {} return n; })()", "p.defaultMaxListeners", "p.EventEmitter === p",
    "(() => { const e = new p(); const f = () => 0; e.on('a', f); e.off('a', f); return e.rawListeners('a').length; })()",
    "(() => { const l = []; const e = new p(); e.on('newListener', (n) => l.push(n)); e.on('q', () => 0); return l; })()",
    "(() => { class E extends p {} return new E() instanceof p && E.name; })()", "typeof new p({ captureRejections: 1 })", "p.captureRejections = 1", "p.name + p.length + typeof p.EventEmitterAsyncResource",
    "p.setMaxListeners(-1)", "new p().setMaxListeners('x')", "new p().on('x', 3)", "new p().once('x')", "new p().removeListener('x', {})", "new p().emit('error', 'text')", "new p().emit('error')", "p.prototype.on === p.prototype.addListener", "(() => { p.defaultMaxListeners = 12; const n = new p().getMaxListeners(); p.defaultMaxListeners = 10; return n; })()", "(() => { function Old() { p.call(this); } require('util').inherits(Old, p); let n = 0; const o = new Old(); o.on('x', () => n++); o.emit('x'); return n; })()",
  ],
  assert: [
    "p(true)", "p(false)", "p.equal(1, '1')", "p.strictEqual(1, '1')", "p.deepEqual({ a: 1 }, { a: '1' })", "p.deepStrictEqual({ a: 1 }, { a: '1' })", "p.deepStrictEqual(new Map([[1, { a: 1 }]]), new Map([[1, { a: 1 }]]))",
    "p.notStrictEqual(1, 1)", "p.throws(() => { throw new TypeError('x'); }, TypeError)", "p.throws(() => { throw new TypeError('x'); }, /y/)", "p.throws(() => 1)", "p.doesNotThrow(() => 1)", "p.match('abc', /b/)", "p.match('abc', /x/)",
    "p.ok(0)", "p.fail('m')", "p.ifError(null)", "p.ifError(new Error('x'))", "p.strict.equal(1, '1')", "p.deepStrictEqual([NaN], [NaN])", "p.deepStrictEqual(new Set([1, 2]), new Set([2, 1]))", "p.deepStrictEqual(/a/g, /a/i)", "p.deepEqual([1, 2], [1, 2, 3])",
    "p.notDeepStrictEqual({ a: 1 }, { a: 1 })", "p.deepStrictEqual(new Date(1), new Date(1))", "p.deepStrictEqual(-0, 0)",
  ],
  zlib: [
    ...["level: 10", "level: 'x'", "level: -2", "level: NaN", "windowBits: 7", "windowBits: 16", "windowBits: 0", "memLevel: 0", "strategy: 5", "chunkSize: 63", "chunkSize: 'x'",
      "maxOutputLength: 0", "maxOutputLength: 'x'", "flush: 6", "flush: 'x'", "finishFlush: 7", "dictionary: 'x'", "dictionary: 3"]
      .flatMap((option) => ["Gzip", "Inflate", "DeflateRaw"].map((name) => `typeof p.create${name}({ ${option} })`)),
    "typeof p.createBrotliCompress({ params: { 1: 'x' } })", "typeof p.createBrotliCompress({ params: { 999: 1 } })", "typeof p.createBrotliCompress({ flush: 4 })",
    "p.gzipSync(3)", "p.gzip('x')", "p.createDeflate().params('x', 0)", "p.createDeflate().params(1, 9)", "p.inflateSync('x', { maxOutputLength: 0 })",
  ],
  punycode: ["p.encode('mañana')", "p.decode('maana-pta')", "p.toASCII('mañana.com')", "p.toUnicode('xn--maana-pta.com')", "p.ucs2.decode('💩')"],
  os: ["p.EOL", "p.platform()", "typeof p.constants.signals.SIGTERM"],
  process: ["typeof p.nextTick + typeof p.hrtime() + p.platform", "p.nextTick(3)", "p.hrtime.bigint() >= 0n", "typeof p.uptime()", "p.cwd().startsWith('/')", "p.env.NOPE", "p.version.startsWith('v')", "p.hrtime(3)"],
  module: ["typeof p.createRequire('/x')('events')", "p.createRequire('/x')('no-such')", "p.isBuiltin('fs') || true", "p.isBuiltin('node:path')", "p.isBuiltin('nope')"],
  diagnostics_channel: [
    "(() => { const c = p.channel('a'); const l = []; const f = (m, n) => l.push(m, n); c.subscribe(f); c.publish(1); c.unsubscribe(f); c.publish(2); return [l, c.hasSubscribers, p.hasSubscribers('a')]; })()",
    "p.channel({})", "(() => { const t = p.tracingChannel('t'); const l = []; t.subscribe({ start: () => l.push('s'), end: () => l.push('e'), error: () => l.push('x') }); t.traceSync(() => 1); try { t.traceSync(() => { throw 1; }); } catch {} return l; })()",
  ],
};

test("expressions give what they give in Node", () => {
  const host = nodeHost();
  const there = own("node:vm").runInThisContext(outcome);
  const here = host.run(outcome);
  let count = 0;
  const different = [];
  for (const [module, expressions] of Object.entries(EXPRESSIONS)) {
    for (const expression of expressions) {
      const body = `const p = require("node:${module}"); const B = require("node:buffer").Buffer; return ${expression};`;
      const expected = there(() => new Function("require", body)(own));
      const make = host.run(`(function (require) { ${body} })`);
      const actual = here(() => make(host.context.require));
      count++;
      if (actual !== expected) different.push(`${module}: ${expression}\n  there ${expected}\n  here  ${actual}`);
    }
  }
  assert.deepEqual(different, []);
  assert.ok(count >= 150, `${count} expressions`);
});

/** Programs of which what they return, in the end, is compared. */
const PROGRAMS = {
  "rejections are captured": `
    const E = require("events"); const log = []; const settled = () => new Promise((r) => setTimeout(r, 1));
    const a = new E({ captureRejections: true }); a.on("x", async (v) => { throw v; }); a.on("error", async (e) => { log.push("error " + e); });
    log.push(a.emit("x", 1)); await settled();
    const b = new E({ captureRejections: true }); b[Symbol.for("nodejs.rejection")] = (e, name, ...args) => log.push([e, name, args]);
    b.once("y", async () => { throw 2; }); b.emit("y", 3, 4); await settled();
    const c = new E(); c.on("error", () => log.push("never")); c.on("z", () => Promise.reject(5).catch(() => 0)); c.emit("z"); await settled();
    const d = new E({ captureRejections: true }); d.on("q", () => ({ get then() { throw 6; } })); d.on("error", (e) => log.push("then " + e)); d.emit("q"); await settled();
    E.captureRejections = true; const f = new E(); E.captureRejections = false; f.on("w", async () => { throw 7; }); f.on("error", (e) => log.push("all " + e)); f.emit("w"); await settled();
    const { Writable } = require("stream"); const w = new Writable({ captureRejections: true, write(c, e, d) { d(); } }); w.on("mine", async () => { throw new TypeError("8"); }); w.on("error", (e) => log.push(e.message)); w.emit("mine"); await settled();
    return [...log, w.destroyed];`,
  "nextTick keeps the order, also from within": `
    const log = []; process.nextTick((x) => { log.push(x); process.nextTick(() => log.push(3)); }, 1); process.nextTick(() => log.push(2));
    await new Promise((r) => setTimeout(r, 5)); return log;`,
  "pipeline with a transform": `
    const { Readable, Transform } = require("stream"); const { pipeline } = require("stream/promises"); const out = [];
    await pipeline(Readable.from(["a", "b"]), new Transform({ transform(c, e, d) { d(null, String(c).toUpperCase()); } }), async (s) => { for await (const c of s) out.push(String(c)); }); return out;`,
  "errors travel along a pipeline": `
    const { Readable, PassThrough } = require("stream"); const { pipeline } = require("stream/promises");
    const bad = new Readable({ read() { this.destroy(new TypeError("no")); } });
    return await pipeline(bad, new PassThrough()).catch((e) => e.name + e.message);`,
  "to Web streams and back": `
    const { Readable } = require("stream"); const web = Readable.toWeb(Readable.from([Buffer.from("xy"), Buffer.from("z")], { objectMode: false }));
    return String(Buffer.concat(await Readable.fromWeb(web).toArray()));`,
  "consumers": `const { Readable } = require("stream"); const c = require("stream/consumers"); return [await c.text(Readable.from(["a", "b"])), await c.json(Readable.from(['{"a":1}']))];`,
  "finished": `const { Writable, finished } = require("stream"); const w = new Writable({ write(c, e, d) { d(); } }); const p = new Promise((r) => finished(w, (e) => r([e === undefined]))); w.end("x"); return await p;`,
  "once and on": `
    const { EventEmitter, once, on } = require("events"); const e = new EventEmitter(); setTimeout(() => e.emit("a", 1, 2), 1); const first = await once(e, "a");
    setTimeout(() => { e.emit("b", 1); e.emit("b", 2); }, 1); const l = [first]; for await (const x of on(e, "b")) { l.push(x); if (x[0] === 2) break; } return l;`,
  "promisify": `const u = require("util"); const f = u.promisify((a, cb) => cb(null, a + 1)); const g = u.promisify((cb) => cb(new RangeError("r"))); return [await f(1), await g().catch((e) => e.name), await u.promisify(setTimeout)(1, "v")];`,
  "callbackify": `const u = require("util"); return await new Promise((r) => u.callbackify(async (a) => a * 2)(4, (e, v) => r([e, v])));`,
  "timers/promises": `const t = require("timers/promises"); const l = [await t.setTimeout(1, "a")]; let n = 0; for await (const v of t.setInterval(1, "i")) { l.push(v); if (++n === 2) break; } return l;`,
  "rejects": `const a = require("assert"); await a.rejects(Promise.reject(new TypeError("x")), TypeError); return await a.rejects(Promise.resolve(1)).catch((e) => e.code);`,
};

for (const [name, body] of Object.entries(PROGRAMS)) {
  test(`as in Node: ${name}`, async () => {
    const host = nodeHost();
    const expected = JSON.stringify(await new AsyncFunction("require", body)(own));
    const run = host.run(`(async function (require) { ${body} })`)(host.context.require);
    let done = false;
    const ended = run.finally(() => (done = true)).catch(() => undefined);
    for (let i = 0; i < 40 && !done; i++) {
      await host.settle();
      await host.advance(5);
    }
    if (done) await ended;
    assert.ok(done, "it comes to its end");
    assert.equal(JSON.stringify(await run), expected);
  });
}

test("process.env holds the bindings as strings", () => {
  const host = nodeHost([
    { name: "A", type: "plain_text", text: "1" },
    { name: "S", type: "secret_text", text: "s" },
    { name: "J", type: "json", text: '{"a":1}' },
    { name: "T", type: "json", text: '"text"' },
  ]);
  assert.equal(host.run("JSON.stringify(process.env)"), '{"A":"1","S":"s","J":"{\\"a\\":1}","T":"text"}');
  assert.equal(host.run("process.env.X = 3, process.env.X"), "3");
  assert.equal(host.run("delete process.env.X, 'X' in process.env"), false);
});

test("without the flag there is nothing of Node", () => {
  const host = new Host();
  host.entry.start("[]", 0);
  assert.equal(host.run("typeof Buffer + typeof process + typeof global + typeof setImmediate"), "undefinedundefinedundefinedundefined");
});

test("what a process could do is refused with a sentence", () => {
  const host = nodeHost();
  assert.match(host.run("try { process.exit(1) } catch (e) { e.message }"), /return a Response/);
});
