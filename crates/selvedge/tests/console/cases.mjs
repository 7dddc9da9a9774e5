// What `console.log` is given, one call a row: the test compares what Node and a worker make of it.

class Point {
  #hidden = 1;
  constructor(x, y) {
    this.x = x;
    this.y = y;
  }
  get length() {
    return Math.hypot(this.x, this.y, this.#hidden);
  }
}
class Point3 extends Point {
  z = 3;
}
class Tagged {
  a = 1;
  get [Symbol.toStringTag]() {
    return "Label";
  }
}
class List extends Array {}
class Registry extends Map {}
class NotFound extends Error {
  constructor(message, code) {
    super(message);
    this.code = code;
  }
}
class Named extends Error {
  name = "NamedError";
}
class Money {
  [Symbol.for("nodejs.util.inspect.custom")](depth, options) {
    return `Money<${depth},\n${typeof options.stylize}>`;
  }
}
class Wrapped {
  [Symbol.for("nodejs.util.inspect.custom")]() {
    return { wrapped: [1, 2] };
  }
}
class Text {
  toString() {
    return "as text";
  }
}

const range = (length, of = (i) => i) => Array.from({ length }, (_, i) => of(i));
const nest = (depth) => (depth === 0 ? { end: true } : { next: nest(depth - 1) });

function circular() {
  const self = { name: "self", list: [] };
  self.self = self;
  self.list.push(self, { up: self });
  const a = { name: "a" };
  const b = { name: "b", a };
  a.b = b;
  return [self, a, new Map([["self", self]])];
}

function failed(make) {
  try {
    return make();
  } catch (error) {
    return error;
  }
}

function sparse() {
  const array = [1];
  array[5] = 2;
  array[7] = undefined;
  array.extra = "yes";
  return array;
}

function withGetters() {
  const object = { plain: 1, get got() { return 2; }, set put(value) {}, get both() { return 3; }, set both(value) {} };
  Object.defineProperty(object, "hidden", { value: 4, enumerable: false });
  return object;
}

function buffers() {
  const bytes = new Uint8Array([1, 2, 254, 255]);
  return [bytes.buffer, new DataView(bytes.buffer, 1, 2), new Float64Array([1.5, -0, NaN]), new BigInt64Array(2), new ArrayBuffer(0)];
}

const rejected = Promise.reject(new RangeError("no"));
rejected.catch(() => {});

export const cases = [
  // Primitives
  ["text", 1, -0, 1n, true, null, undefined, Symbol("s"), Symbol.iterator, NaN, Infinity],
  [["text", -0, 12345678901234567890n, null, undefined, Symbol("a b"), Symbol(), 1e21, 0.1]],
  [["it's", 'say "hi"', `it's "both"`, "it's \"`all`\"", "back\\slash", "tab\tnew\nline", "\u001b[31mred\u0007", "\u0080", "é 漢 😀", ""]],
  [{ long: "x".repeat(100), lines: "first line of text\nsecond line of text\nthird", last: "y".repeat(90) + "\n" }],
  ["a\nb", { text: "a\nb" }],
  [["x".repeat(10_010)]],
  // Objects
  [{}],
  [{ a: 1, b: "two", c: [3], d: { e: { f: { g: 1 } } } }],
  [{ "with-dash": 1, $dollar: 2, _under: 3, 42: 4, "": 5, "é": 6, [Symbol("key")]: 7, ["__proto__"]: 8, "it's": 9 }],
  [nest(1), nest(2), nest(3), nest(5)],
  [{ a: { b: { c: {} } } }, { a: { b: { c: [] } } }, { a: { b: { c: new Map() } } }, { a: { b: { c: new Point(1, 2) } } }],
  [{ a: { b: { c: { d: 1 }, e: [1], f: new Map([[1, 2]]), g: new Set([1]), h: new Point(1, 2), i: () => 1, j: new Date(0), k: /x/ } } }],
  [{ a: 1, b: 2, c: 3, d: 4, e: 5, f: 6, g: 7, h: 8, i: 9, j: 10, k: 11, l: 12, m: 13, n: 14, o: 15, p: 16, q: 17, r: 18, s: 19 }],
  [{ id: "8f14e45f-ceea-467f-ab5d-31f2a3c1c0de", name: "A name", email: "someone@example.com", active: true }],
  [{ status: 200, headers: { "content-type": "application/json", etag: 'W/"abc"' }, body: { items: [{ id: 1, tags: ["a", "b"] }, { id: 2, tags: [] }], next: null } }],
  [[{ id: 1, name: "one", price: 9.99 }, { id: 2, name: "two", price: 19.99 }, { id: 3, name: "three", price: 29.99 }]],
  [Object.create(null), Object.assign(Object.create(null), { a: 1 }), Object.create({ inherited: 1 })],
  [withGetters()],
  [new Point(1, 2), new Point3(1, 2), [new Point(0, 0)], Point.prototype, new (class {})(), new (class { a = 1 })()],
  [new Tagged(), { [Symbol.toStringTag]: "Own" }, Math, JSON, Reflect],
  [Object.freeze({ frozen: true }), Object.seal([1])],
  ...circular().map((value) => [value]),
  [new Money(), { price: new Money() }, new Wrapped(), [new Wrapped()]],
  [(function () { return arguments; })(1, "two")],
  [globalThis === undefined, new Text(), { text: new Text() }],
  // Lists
  [[]],
  [[1, 2, 3], ["a", "b"], [[1, [2, [3, [4]]]]], [[], {}]],
  [range(6)], [range(7)], [range(10)], [range(27)], [range(100)], [range(101)], [range(250)],
  [range(30, (i) => i * 1000)], [range(30, (i) => "item " + i)], [range(8, (i) => "a much longer text, number " + i)],
  [range(12, (i) => ({ i }))], [range(20, (i) => (i % 2 ? i : "x"))], [range(10, (i) => -i / 3)], [range(120, () => "x")],
  [range(7, (i) => range(7))], [{ rows: range(3, (i) => range(10, (j) => i * j)) }],
  [range(26, (i) => BigInt(i) ** 5n)], [range(10, (i) => [i, { i }])], [range(9, () => null)], [range(16, (i) => i % 3 === 0)],
  [sparse()], [new Array(3)], [[, 1, , ]], [[undefined, null]], [new List(1, 2, 3)], [Object.assign([1, 2], { key: "value" })],
  [[["deep", ["deeper", ["deepest", ["too deep"]]]]]],
  [[{ a: 1, b: { c: 2 } }, { a: 3, b: { c: { d: 4 } } }]],
  [["a", "b"].entries(), [1].values(), "ab"[Symbol.iterator]()],
  // Collections
  [new Map(), new Set(), new WeakMap(), new WeakSet()],
  [new Map([["key", { a: 1 }], [{ k: 1 }, ["v"]], [NaN, null]]), new Set([1, "two", { three: 3 }, [4]])],
  [new Map(range(3, (i) => ["a rather long key number " + i, { value: "and a long value " + i }]))],
  [new Set(range(40))], [new Set(range(105))], [new Map(range(4, (i) => [i, i]))], [{ m: new Map([[1, new Map([[2, new Map([[3, 4]])]])]]) }],
  [new Registry([[1, 2]]), Object.assign(new Map([[1, 2]]), { extra: true })],
  [new Map([["a", 1], ["b", 2]]).entries(), new Map([["a", 1]]).keys(), new Set([5]).values(), new Set([5]).entries()],
  // Buffers
  ...buffers().map((value) => [value]),
  [new Uint8Array(0), new Uint8Array(3), new Uint16Array(range(30)), new Uint8Array(150), { inside: new Int8Array([-1, 1]) }],
  [new Uint8Array(range(120)).buffer],
  // Functions
  [function named() {}, () => {}, async () => {}, function* generator() {}, async function* both() {}, class {}, class A {}, class B extends Point {}, Math.max],
  [{ method() {}, arrow: () => 1, [Symbol("s")]() {}, Class: Point }],
  [Object.assign(function withProperties() {}, { a: 1 }), Object.assign(class K {}, { static: 1 })],
  [(function* () { yield 1; })(), (async function* () {})()],
  [[() => 1, class Z {}]],
  // Dates, expressions, boxes
  [new Date(0), new Date(NaN), [new Date(86_400_000)], Object.assign(new Date(0), { zone: "UTC" })],
  [/a\/b/giu, [/x/], Object.assign(/y/, { note: 1 })],
  [new Number(-0), new String("boxed"), new Boolean(false), Object(1n), Object(Symbol("boxed")), [new String("x")]],
  // Promises and proxies
  [Promise.resolve({ done: true }), new Promise(() => {}), [Promise.resolve(1)], Promise.resolve(Promise.resolve(2))],
  [new Proxy({ a: 1 }, {}), new Proxy([1, 2], { get: () => 9 }), new Proxy(function f() {}, {}), [new Proxy(new Map([[1, 2]]), {})]],
  [new Proxy({}, { ownKeys() { throw new Error("trap"); }, get() { throw new Error("trap"); } })],
  [rejected],
  // Errors
  [new Error("plain")],
  [new TypeError("typed"), "and more"],
  [{ error: new Error("inside") }], [[new Error("in a list")]], [{ a: { b: { c: new Error("deep") } } }],
  [new Error("with cause", { cause: new Error("the cause") })],
  [new Error("with a value", { cause: { code: 42 } })], [new Error("text", { cause: "a text" })],
  [new Error("a", { cause: new Error("b", { cause: new TypeError("c") }) })],
  [new NotFound("missing", "E404")], [new NotFound("missing")], [new Named("named")], [new AggregateError([new Error("one"), new TypeError("two")], "many")],
  [Object.assign(new Error("with properties"), { code: "E1", details: { a: 1 }, list: [1, 2, 3] })],
  [Object.assign(new Error("renamed"), { name: "Other" })], [new Error("")], [new Error("two\nlines")],
  [failed(() => null.x) instanceof TypeError, Object.assign(new Error("x"), { stack: undefined }), Object.assign(new Error("y"), { stack: "own stack" })],
  [Object.setPrototypeOf(new Error("none"), Point.prototype) instanceof Point],
  // Formats
  ["%s|%s|%s|%s|%s|%s", "text", 1, -0, 2n, null, undefined],
  ["%s|%s|%s|%s|%s", { a: { b: { c: 1 } } }, [1, [2, [3]]], Symbol("s"), Math.max, new Text()],
  ["%s|%s|%s|%s", new Date(0), new Point(1, 2), Object.create(null), Point.prototype],
  ["%d|%d|%d|%d|%d|%d", "42", 4.2, "x", 10n, {}, Symbol("s")],
  ["%i|%i|%i|%i", "42.9", 4.9, "x", 10n], ["%f|%f|%f", "4.25", "x", 3],
  ["%j|%j|%j", { a: [1, "two"] }, undefined, "text"], ["%j", circular()[0]],
  ["%o", { a: 1, f() {} }], ["%o", [1, [2]]], ["%O", { a: { b: { c: { d: 1 } } } }],
  ["%cstyled%c plain", "color: red", ""], ["100%", 1], ["%d%% of %s", 50, "all", "rest", { x: 1 }], ["%s"], ["%", 1], ["%x %s", "a"], ["a%", "%s", "b"],
  ["%s %s", "only one"], [1, "%s", "not a format"], ["text", { a: 1 }, [1], "more"], ["%%"], ["%%", 1], ["%s", ""], [""], [],
];
