// Hostile values from a seed.

/** Everything that a fuzzer draws comes from one of these, so that a seed tells a run. */
export function generator(seed) {
  let state = (seed >>> 0) + 0x9e3779b9;
  const random = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const int = (below) => Math.floor(random() * below);
  const pick = (list) => list[int(list.length)];
  const chance = (p) => random() < p;
  const kept = [];
  const buffers = [];
  let nesting = 0;

  const numbers = [0, -0, 1, -1, 2, 7, 255, 65535, 65536, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53, 1e300, 0.5, NaN, Infinity, -Infinity];
  const number = () => (chance(0.7) ? pick(numbers) : int(100));
  const texts = ["", "x", "\0", "\ud800", "\udc00\ud800", "\u{1f600}", "\xff\xe9", "constructor", "__proto__", "toString", "then",
    "text/html; charset=", "http://a/", "{\"a\":[1]}", "gzip", "SHA-256", "%00%ff", "a,b;c=\"d\"", "<p>x</p>", "-1", "1e400"];
  const string = () => {
    const text = pick(texts);
    if (chance(0.1)) return text.repeat(int(3000));
    // A rope whose pieces are shared.
    if (chance(0.02)) { let rope = `${text}-`; for (let i = int(18); i > 0; i--) rope += rope; return rope; }
    return chance(0.2) ? text + pick(texts) : text;
  };
  const buffer = () => {
    const length = pick([0, 0, 1, 3, 8, 12, 16, 32, 63, 64, 65, 1000, 70_000]);
    const made = chance(0.3)
      ? new ArrayBuffer(length, { maxByteLength: length * 2 + 64 })
      : chance(0.1) && globalThis.WebAssembly ? new WebAssembly.Memory({ initial: int(2), maximum: 3 }).buffer
      : chance(0.05) && globalThis.SharedArrayBuffer ? new SharedArrayBuffer(length) : new ArrayBuffer(length);
    if (made.byteLength > 0 && chance(0.5)) new Uint8Array(made).fill(int(256));
    buffers.push(made);
    if (buffers.length > 60) buffers.splice(0, 30);
    if (chance(0.05)) try { structuredClone(made, { transfer: [made] }); } catch { /* not all can */ }
    return made;
  };
  const views = [Uint8Array, Uint8Array, Uint8Array, Int8Array, Uint16Array, Float64Array, BigInt64Array, DataView, Uint8ClampedArray];
  const bytes = () => {
    const under = chance(0.3) && buffers.length > 0 ? pick(buffers) : buffer();
    if (chance(0.1)) return under;
    try {
      // Without a length, a view of a resizable buffer follows it.
      const offset = int(3) * 8;
      return chance(0.5) ? new (pick(views))(under, offset) : new (pick(views))(under, offset, int(Math.max(1, under.byteLength / 8)));
    } catch {
      return new Uint8Array(int(70));
    }
  };
  /** Something happens to a buffer that others refer to. */
  const mutate = () => {
    if (buffers.length === 0) return;
    const victim = pick(buffers);
    try {
      if (chance(0.5) && victim.resizable) victim.resize(int(victim.maxByteLength + 1));
      else if (chance(0.3)) victim.transfer?.(int(100));
      else if (chance(0.3)) structuredClone(victim, { transfer: [victim] });
    } catch { /* those that cannot */ }
  };
  const array = (item, most = 5) => {
    const list = [];
    for (let i = int(most); i > 0; i--) list.push(item());
    if (list.length > 0 && chance(0.1)) Object.defineProperty(list, 0, { get: surprise });
    return list;
  };
  /** What a getter, a trap or a conversion does: anything but what its caller expects. */
  const surprise = () => {
    mutate();
    if (chance(0.2)) self.reenter?.();
    if (chance(0.3)) throw pick([new Error("surprise"), null, 1, {}]);
    return value();
  };
  const traps = ["get", "set", "has", "ownKeys", "getPrototypeOf", "getOwnPropertyDescriptor", "defineProperty", "apply", "construct", "deleteProperty"];
  const proxy = () => {
    const handler = {};
    for (let i = 1 + int(4); i > 0; i--) handler[pick(traps)] = surprise;
    return new Proxy(pick([{}, [], () => {}, class {}, new Uint8Array(8), new Map()]), handler);
  };
  const names = ["length", "type", "name", "headers", "body", "method", "signal", "then", "next", "start", "pull", "transform", "highWaterMark",
    "size", "iv", "counter", "hash", "public", "autoAllocateChunkSize", "byteLength", "buffer", "mode", "fatal", "status", "cause", "key", "transfer"];
  const object = () => {
    const made = chance(0.2) ? Object.create(null) : {};
    for (let i = int(5); i > 0; i--) {
      const name = pick(names);
      if (chance(0.25)) Object.defineProperty(made, name, { get: surprise, enumerable: true, configurable: true });
      else made[name] = value();
    }
    if (chance(0.15)) made[pick([Symbol.iterator, Symbol.asyncIterator, Symbol.toPrimitive, Symbol.toStringTag, "toString", "valueOf", "toJSON"])] = surprise;
    return made;
  };
  const value = () => {
    if (nesting > 4) return number();
    nesting++;
    try {
      switch (int(16)) {
        case 0: case 1: return number();
        case 2: case 3: return string();
        case 4: case 5: return bytes();
        case 6: return object();
        case 7: return proxy();
        case 8: return array(value);
        case 9: return pick([undefined, null, true, false, Symbol("s"), 10n ** 30n, -1n]);
        case 10: return pick([() => value(), surprise, async () => value(), function* () { yield value(); }, class extends Array {}]);
        case 11: return pick([Promise.resolve(1), Promise.reject(1).catch(() => {}) && Promise.resolve(), new Date(NaN), /x/g, new Error("e")]);
        case 12: return new Map([[value(), value()]]);
        case 13: return buffer();
        default: return kept.length > 0 ? pick(kept) : object();
      }
    } finally {
      nesting--;
    }
  };
  const keep = (made) => {
    kept.push(made);
    if (kept.length > 200) kept.splice(int(100), 50);
  };
  const self = { random, int, pick, chance, number, string, buffer, bytes, mutate, array, surprise, proxy, object, value, keep, kept, reenter: undefined };
  return self;
}
