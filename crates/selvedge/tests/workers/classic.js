// A worker in the old syntax: a script, not strict, with bindings as globals.
"not strict"; // No directive.
implicit = "implied";
var shared = typeof this === "object" && this === self;
var waited = 0;

const failure = (work) => {
  try {
    work();
    return "no error";
  } catch (error) {
    return error.name;
  }
};

const CASES = {
  bindings: () => [GREETING, DATA.a, implicit, shared, globalThis.shared, typeof SELF.fetch],
  event: (event) => [
    event.type,
    event.isTrusted,
    event instanceof FetchEvent,
    event instanceof ExtendableEvent,
    event.request.method,
    event.request.headers.get("host") !== null,
    event.clientId,
    event.passThroughOnException(),
    failure(() => new FetchEvent("fetch")),
    failure(() => new FetchEvent("fetch", { request: {} })),
  ],
  scope: () => [
    self instanceof ServiceWorkerGlobalScope,
    self instanceof WorkerGlobalScope,
    self instanceof EventTarget,
    Object.prototype.toString.call(self),
    failure(() => new ServiceWorkerGlobalScope()),
    typeof onfetch,
  ],
  waited: () => waited,
  waitUntil(event) {
    event.waitUntil(new Promise((resolve) => setTimeout(resolve, 2)).then(() => (waited += 1)));
    return "later";
  },
  // An event of the worker's own is no request.
  forged(event) {
    const mine = new FetchEvent("fetch", { request: event.request, cancelable: true });
    const outcomes = [];
    const listener = (given) => {
      if (given !== mine) return;
      outcomes.push(failure(() => given.respondWith(new Response("x"))), failure(() => given.waitUntil(1)));
      given.stopImmediatePropagation();
    };
    addEventListener("forged", listener);
    const forged = new FetchEvent("forged", { request: event.request });
    outcomes.push(failure(() => forged.waitUntil(Promise.resolve())), failure(() => forged.respondWith(1)));
    return [...outcomes, dispatchEvent(forged), forged.isTrusted];
  },
  async self() {
    return (await SELF.fetch("http://x/bindings")).json();
  },
};

addEventListener("fetch", (event) => {
  const { pathname } = new URL(event.request.url);
  if (pathname === "/silent") return;
  if (pathname === "/throws") throw new RangeError("in the listener");
  if (pathname === "/rejects") return event.respondWith(Promise.reject(new RangeError("in the answer")));
  if (pathname === "/nothing") return event.respondWith(5);
  if (pathname === "/late") return void setTimeout(() => event.respondWith(new Response("late")), 0);
  if (pathname === "/twice") {
    event.respondWith(new Response("first"));
    return event.respondWith(new Response("second"));
  }
  if (pathname === "/poisoned") {
    globalThis.FetchEvent = null;
    ExecutionContext.prototype.waitUntil = null;
    EventTarget.prototype.dispatchEvent = null;
    Event.prototype.stopImmediatePropagation = null;
    return;
  }
  event.respondWith(answer(event, pathname.slice(1)));
});

async function answer(event, name) {
  return Response.json(await CASES[name](event));
}

addEventListener("fetch", (event) => event.respondWith(new Response("the second listener")));
