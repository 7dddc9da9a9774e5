import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { Host } from "./host.mjs";

function logged(call) {
  const host = new Host();
  host.run(call);
  return host.logs.map((line) => line.message);
}

test("values look as they do in Node", () => {
  for (const source of ["1", "-0", "'a'", "\"it's\"", "null", "undefined", "10n", "Symbol('s')", "[]", "{}", "[1, 'a', null]", "{ a: 1, 'b-c': { d: { e: { f: 1 } } } }",
    "[[[[1]]]]", "new Map([[1, { a: 2 }]])", "new Set(['a'])", "new Map()", "new Date(0)", "/x/g", "[1, , 3]", "function f() {}", "class X {}", "class Y extends Array {}", "() => 1",
    "Object.create(null)", "new (class Point { x = 1 })()", "{ get a() { return 1 }, set b(v) {} }", "new Uint8Array(3)",
    "Array.from({ length: 120 }, (_, i) => i).length"]) {
    const expected = inspect(eval(`(${source})`));
    assert.deepEqual(logged(`console.log([${source}][0], 0)`), [source.startsWith("'") || source.startsWith('"') ? `${eval(source)} 0` : `${expected} 0`], source);
  }
});

test("circular references, errors, formats, levels", () => {
  assert.deepEqual(logged("const o = { a: 1 }; o.self = o; console.log(o)"), ["<ref *1> { a: 1, self: [Circular *1] }"]);
  assert.match(logged("console.error(new TypeError('t', { cause: new Error('c') }))")[0], /^TypeError: t\n {4}at [\s\S]*\[cause\]: Error: c/);
  assert.deepEqual(logged("console.log('%s %d %i %f %j %o %O %c%% %x', 'a', '4.5', '4.5', '1.5', { a: 1 }, [1], { b: 2 }, 'css', 'rest')"), [
    "a 4.5 4 1.5 {\"a\":1} [ 1, [length]: 1 ] { b: 2 } % %x rest",
  ]);
  const host = new Host();
  host.run("console.debug(0); console.log(1); console.info(2); console.warn(3); console.error(4)");
  assert.deepEqual(host.logs.map(({ level, message }) => `${level}${message}`), ["00", "11", "22", "33", "44"]);
});

test("interfaces show their state", () => {
  assert.deepEqual(logged("console.log(new Headers({ a: '1', 'b-c': '2' }), new URLSearchParams('x=1&x=2'), new Headers())"), [
    "Headers { a: '1', 'b-c': '2' } URLSearchParams { x: [ '1', '2' ] } Headers {}",
  ]);
  assert.match(logged("console.log(new Response('x', { status: 201 }))")[0], /^Response \{\n {2}status: 201,/);
  assert.match(logged("console.log(new URL('http://h/p?q#f'))")[0], /pathname: '\/p'/);
});

test("counting, timing, grouping, asserting, tables", () => {
  assert.deepEqual(logged("console.count(); console.count(); console.countReset(); console.count('x')"), ["default: 1", "default: 2", "x: 1"]);
  assert.deepEqual(logged("console.time('t'); console.timeEnd('t'); console.timeEnd('t')"), ["t: 0ms", "No such label: t"]);
  assert.deepEqual(logged("console.group('g'); console.log('a\\nb'); console.groupEnd(); console.log('c')"), ["g", "  a\n  b", "c"]);
  assert.deepEqual(logged("console.assert(true); console.assert(false, 'm %d', 1)"), ["Assertion failed: m 1"]);
  assert.match(logged("console.table([{ a: 1, b: 'x' }, { a: 2 }])")[0], /│ \(index\) │ a │ b {3}│/);
});

test("hostile and huge values are bounded and never throw", () => {
  const [huge] = logged("console.log(Array.from({ length: 1e5 }, (_, i) => ({ i, text: 'x'.repeat(1000) })))");
  assert.ok(huge.length < 20_000);
  assert.ok(logged("console.log('x'.repeat(1e6))")[0].length < 20_000);
  assert.ok(logged("console.log(new Array(4e9))")[0].length < 100);
  assert.equal(logged("console.log(new Proxy({}, { ownKeys() { throw 1 }, getPrototypeOf() { throw 1 } }))").length, 1);
  assert.equal(logged("const { proxy, revoke } = Proxy.revocable({}, {}); revoke(); console.log(proxy)").length, 1);
  assert.equal(logged("let deep = {}; for (let i = 0; i < 1e5; i++) deep = { deep }; console.dir(deep, { depth: null })").length, 1);
  assert.equal(logged("console.log({ get boom() { throw 1 } }, { [Symbol.toStringTag]: 5 })").length, 1);
});
