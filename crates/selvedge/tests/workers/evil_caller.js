// Calls other workers as badly as JavaScript can, and says what came of it.
const told = async (what) => {
  try {
    const value = await what();
    return typeof value === "object" ? Object.prototype.toString.call(value) : typeof value === "function" ? "function" : value;
  } catch (error) {
    return `${error.name}: ${String(error.message).slice(0, 100)}`;
  }
};

const member = (name) => (env) => told(async () => env.EVIL[name]());

const cases = {
  getter: member("getter"),
  proxy: member("proxy"),
  growing: member("growing"),
  thenable: member("thenable"),
  loop: member("loop"),
  deep: member("deep"),
  huge: member("huge"),
  error: member("error"),
  name: member("name"),
  nothing: member("nothing"),
  longError: async (env) => {
    try {
      await env.EVIL.longError();
    } catch (error) {
      return error.message.length;
    }
  },
  cycle: async (env) => {
    const value = await env.EVIL.cycle();
    return [value.self === value, value.list[0] === value.list, value.list[1].get("map") === value];
  },
  never: (env) => told(() => env.EVIL.never()),
  trap: async (env) => {
    const trap = await env.EVIL.trap();
    const said = [await told(() => trap.boom), await told(() => trap.self().self().boom), await told(() => trap.constructor)];
    trap[Symbol.dispose]();
    trap[Symbol.dispose]();
    said.push(await told(() => trap.boom), await told(() => trap.dup()));
    return said;
  },
  fewStubs: async (env) => (await env.EVIL.stubs(10_000)).length,
  stubs: (env) => told(async () => (await env.EVIL.stubs(1_000_000)).length),
  calls: (env) => told(() => env.EVIL.calls((n) => n, 5_000)),
  tooMany: (env) => told(() => env.EVIL.calls(() => new Promise(() => {}), 20_000)),
  bomb: (env) => told(() => env.EVIL.calls((n) => "x".repeat(1 << 20), 1_000_000)),
  recurse: (env) => told(() => env.EVIL.recurse((again) => again((more) => more(more)))),
  streams: (env) => told(async () => (await env.EVIL.streams(1_000)).length),
  stream: (env) => told(async () => (await (await env.EVIL.stream()).getReader().read()).value),
  errors: (env) => told(async () => (await (await env.EVIL.errors()).getReader().read()).value),
  response: (env) => told(async () => (await env.EVIL.response()).text()),
  arguments: async (env) => {
    const cyclic = [];
    cyclic.push(cyclic, () => cyclic);
    const said = [];
    for (const given of [
      new Proxy([], { get() { throw new TypeError("trap"); } }),
      new Proxy(function () {}, {}),
      { get x() { throw new TypeError("getter"); } },
      { toJSON: null, [Symbol.toStringTag]: "x" },
      Object.create({ inherited: 1 }),
      Symbol("s"),
      new WeakMap(),
      cyclic,
      new Date(NaN),
    ]) {
      said.push(await told(() => env.VICTIM.take(given)));
    }
    return said;
  },
  holes: (env) => told(() => env.VICTIM.take(Array(1 << 30))),
  path: async (env) => {
    let member = env.VICTIM;
    for (let i = 0; i < 100; i++) member = member.x;
    const names = ["__proto__", "constructor", "prototype", "toString", "hasOwnProperty", "x".repeat(1 << 20)];
    const said = [await told(() => member())];
    for (const name of names) said.push(await told(() => env.VICTIM[name]()));
    return said;
  },
  pipeline: (env) => told(() => {
    // Calls of answers of calls, none of which is waited for.
    let answer = env.VICTIM.again();
    for (let i = 0; i < 1_000; i++) answer = answer.again();
    return answer.count();
  }),
};

export default {
  async fetch(request, env) {
    const name = new URL(request.url).pathname.slice(1);
    if (name === "fine") return new Response("fine");
    return Response.json(await cases[name](env));
  },
};
