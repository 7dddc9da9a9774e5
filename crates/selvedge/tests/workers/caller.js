// Calls the worker `callee` in the way that the path names, and tells what came of it.
import { RpcStub, RpcTarget, WorkerEntrypoint, waitUntil } from "cloudflare:workers";

const failure = async (promise) => {
  try {
    return ["no error", await promise];
  } catch (error) {
    return [error.name, error.message];
  }
};
const sum = async (stream) => {
  let length = 0;
  for await (const chunk of stream) length += chunk.byteLength;
  return length;
};
const zeros = (size) => {
  let left = size;
  return new ReadableStream({
    pull(controller) {
      if (left === 0) return controller.close();
      const length = Math.min(left, 65536);
      controller.enqueue(new Uint8Array(length));
      left -= length;
    },
  });
};

const CASES = {
  async fetch({ C }) {
    const response = await C.fetch("http://some.where/path?q", { method: "POST", body: "hello" });
    return [response.status, response.headers.get("x-url"), response.headers.get("x-method"), await response.text()];
  },
  async fetchStream({ C }) {
    const response = await C.fetch("http://x/", { method: "POST", body: zeros(10 << 20), duplex: "half" });
    return sum(response.body);
  },
  async fetchThrows({ C }) {
    return failure(C.fetch("http://x/throw"));
  },
  async entrypoints({ ADMIN, PLAIN, NOBODY }) {
    const text = async (service) => (await service.fetch("http://x/")).text();
    return [await text(ADMIN), await text(PLAIN), await ADMIN.name(), await PLAIN.twice(4), await failure(text(NOBODY)), await failure(NOBODY.name())];
  },
  async exports(_, ctx) {
    const { Inner } = ctx.exports;
    return [await Inner.hello("a"), await Inner({ props: { n: 1 } }).hello("b"), await (await ctx.exports.default.fetch("http://x/self")).text()];
  },
  async values({ C }) {
    const cyclic = { name: "cycle" };
    cyclic.self = cyclic;
    const back = await C.echo(cyclic);
    const kinds = [];
    for (const value of [new Date(0), /x/g, new Map([[1, { a: 2 }]]), new Set([1]), new Uint8Array(3), new ArrayBuffer(2), 10n, new TypeError("t"), null, undefined, [1, , 3]]) {
      kinds.push([await C.kinds(value), await C.echo(value)]);
    }
    return [back.self === back, kinds.map(([kind, value]) => `${kind} ${Object.prototype.toString.call(value)}`), await C.echo(1, "b", { c: [true] }), kinds[2][1].get(1).a, kinds[7][1].message];
  },
  async property({ C }) {
    return [await C.property, await C.property.a];
  },
  async counter({ C }) {
    const counter = await C.counter(5);
    const all = [await counter.increment(), await counter.increment(10), await counter.value];
    const child = await counter.child();
    all.push(await child.increment(100), await counter.value);
    const more = counter.dup();
    counter[Symbol.dispose]();
    all.push(await failure(counter.increment()), await more.increment());
    more[Symbol.dispose]();
    child[Symbol.dispose]();
    for (let i = 0; i < 100 && (await C.disposed()) < 2; i++);
    all.push(await C.disposed());
    return all;
  },
  async pipelining({ C }) {
    const counter = C.slowCounter();
    const first = counter.increment();
    const second = counter.increment();
    const third = counter.child().child().increment(7);
    return [await first, await second, await third, await counter.increment(), await C.nested().list[1](21)];
  },
  async callback({ C }) {
    return C.callback((i) => i * 2, 1000);
  },
  async nested({ C }) {
    using result = await C.nested();
    return [await result.list[0].increment(), await result.list[1](4), await result.map.get("f")()];
  },
  async errors({ C }) {
    const own = () => {
      throw new RangeError("the caller's own");
    };
    return [await failure(C.throws()), await failure(C.throwsType()), await failure(C.throwsText()), await failure(C.callback(own, 1)), await failure(C.instance()), await failure(C.echo(Symbol("x"))), await failure(C.echo(new (class Mine {})()))];
  },
  async forbidden({ C }) {
    const counter = await C.counter();
    const names = ["hidden", "env", "ctx", "constructor", "__proto__", "toString", "hasOwnProperty", "valueOf", "missing", "scheduled"];
    const all = [];
    for (const name of names) {
      let member = C[name];
      all.push(member === undefined ? "undefined" : (await failure(member("x")))[0]);
    }
    for (const name of ["secret", "constructor", "__proto__", "__defineGetter__", "#value"]) {
      const member = counter[name];
      all.push(member === undefined ? "undefined" : (await failure(member("x")))[0]);
    }
    all.push(await failure(C.echo.constructor("return 1")), await failure(C.property.a.constructor), C.then === undefined, counter.then === undefined);
    return all;
  },
  async streams({ C }) {
    const stream = await C.stream(10 << 20);
    return [await sum(stream), await C.length(zeros(10 << 20))];
  },
  async cancelled({ C }) {
    const reader = (await C.stream(10 << 20)).getReader();
    const { value } = await reader.read();
    await reader.cancel("enough");
    return value.length;
  },
  async writable({ C }) {
    const written = [];
    const sink = new WritableStream({ write: (chunk) => void written.push(chunk), close: () => void written.push("end") });
    return [await C.write(sink), written];
  },
  async http({ C }) {
    const response = await C.request(new Request("http://x/y", { method: "PUT", headers: { "x-a": "1" }, body: "text" }));
    const headers = await C.echo(new Headers({ a: "b" }));
    const large = await C.echo(new Response(zeros(1 << 20)));
    return [response.status, response.headers.get("x-b"), await response.text(), headers.get("a"), (await large.arrayBuffer()).byteLength];
  },
  async limits({ C, TIGHT }) {
    return [await failure(TIGHT.spin()), await failure(TIGHT.hog()), await TIGHT.echo("alive"), await failure(C.big())];
  },
  async broken({ TIGHT }) {
    const counter = await TIGHT.counter(1);
    let told = "";
    counter.onRpcBroken((error) => (told = error.name));
    const pending = failure(counter.child().increment());
    await pending;
    await failure(TIGHT.spin());
    await failure(counter.increment());
    return [(await failure(counter.increment()))[0], told];
  },
  async third({ C }) {
    return C.relay((i) => i + 1);
  },
  async waitUntil({ C }) {
    waitUntil(C.later());
    await C.later();
    for (let i = 0; i < 1000; i++) {
      await new Promise((resolve) => setTimeout(resolve, 2));
      if ((await C.waited()) >= 1) return "waited";
    }
  },
  async props({ C, ADMIN }) {
    return [await C.props(), await ADMIN.name()];
  },
  async stub() {
    class Local extends RpcTarget {
      greet(name) {
        return `hello ${name}`;
      }
    }
    const stub = new RpcStub(new Local());
    return [await stub.greet("you"), (await failure(stub.missing()))[0]];
  },
  async abort({ C }) {
    const controller = new AbortController();
    const answer = failure(C.fetch("http://x/abort", { signal: controller.signal }));
    await C.waited();
    controller.abort();
    const [name] = await answer;
    for (let i = 0; i < 1000 && (await C.waited()) < 100; i++) await new Promise((resolve) => setTimeout(resolve, 2));
    return [name, (await C.waited()) >= 100];
  },
  async loop({ C }) {
    const response = await C.fetch("http://x/loop");
    return [response.status, await response.text()];
  },
  async files({ C }) {
    const blob = new Blob(["0123456789"], { type: "text/x" }).slice(2, 5, "a/b");
    const back = await C.echo({ list: [blob] });
    const file = await C.echo(new File(["f"], "n.txt", { type: "x/y", lastModified: 5 }));
    const headers = await C.headers(new Headers({ "x-a": "1" }));
    return [
      await C.file(blob), await C.file(new File(["abc"], "a.txt", { lastModified: 7 })),
      back.list[0] instanceof Blob, back.list[0].type, await back.list[0].text(),
      file instanceof File, file.name, file.type, file.lastModified, await file.text(),
      headers instanceof Headers, [...headers],
    ];
  },
  async promises({ C, ADMIN }) {
    const counter = await C.counter(5);
    return [
      await C.add(C.add(1, 2), C.add(3, 4)),
      await C.echo({ deep: [ADMIN.name(), { of: new Map([["k", C.echo("v")]]) }] }).then(({ deep }) => [deep[0], deep[1].of.get("k")]),
      await counter.increment(counter.increment(counter.value)),
      // Calls of what has not been sent yet.
      await C.counter(C.echo(7)).child().increment(C.echo(1)),
      await failure(C.add(C.throws(), 1)),
      await failure(C.counter(C.throws()).child().value),
      await failure(C.echo(new Set([C.echo(1)]))),
    ];
  },
  async services({ C, PLAIN }, ctx) {
    const { self, later } = await C.own();
    return [
      await C.useService(PLAIN),
      await self.echo("by its own binding"), later,
      await (await self.fetch("http://y/", { method: "PUT", body: "b" })).text(),
      await C.echo(ctx.exports.Inner).then((inner) => inner.hello("me")),
    ];
  },
  async self() {
    return "it is me";
  },
};

export class Inner extends WorkerEntrypoint {
  hello(name) {
    return `${name} ${JSON.stringify(this.ctx.props)}`;
  }
}

export default {
  async fetch(request, env, ctx) {
    const name = new URL(request.url).pathname.slice(1);
    const answer = await CASES[name](env, ctx);
    return answer === "it is me" ? new Response(answer) : Response.json(answer);
  },
};
