// Deployed under the same names, byte for byte the same, in two accounts: only `env.WHO` differs.
import { RpcTarget, WorkerEntrypoint } from "cloudflare:workers";

const counted = { calls: 0 };

class Secret extends RpcTarget {
  constructor(who) {
    super();
    this.who = who;
  }
  tell() {
    return this.who;
  }
}

export class Admin extends WorkerEntrypoint {
  who() {
    return [this.env.WHO, this.ctx.props?.tenant ?? null];
  }
  secret() {
    return new Secret(this.env.WHO);
  }
  count() {
    return ++counted.calls;
  }
}

const KEY = "http://cache.example/key";

const cases = {
  who: (env) => env.WHO,
  fetch: async (env) => (await env.API.fetch("http://api/who")).text(),
  rpc: async (env, ctx) => {
    using secret = await env.ADMIN.secret();
    return [await env.ADMIN.who(), await secret.tell(), await env.ADMIN.secret().tell(), await ctx.exports.Admin.who()];
  },
  count: (env) => env.ADMIN.count(),
  put: async (env) => {
    const stored = () => new Response(env.WHO, { headers: { "cache-control": "max-age=600" } });
    await caches.default.put(KEY, stored());
    await (await caches.open("named")).put(KEY, stored());
    return "put";
  },
  match: async () => {
    const named = await caches.open("named");
    const found = [await caches.default.match(KEY), await named.match(KEY)];
    return Promise.all(found.map((response) => response?.text() ?? null));
  },
  forget: async () => [await caches.default.delete(KEY), await (await caches.open("named")).delete(KEY)],
  asset: async (env) => (await env.ASSETS.fetch("http://assets/name.txt")).text(),
  log: (env) => {
    console.log(`said by ${env.WHO}`);
    return "said";
  },
  fail: (env) => {
    throw new Error(`thrown by ${env.WHO}`);
  },
};

export default {
  async fetch(request, env, ctx) {
    const name = new URL(request.url).pathname.slice(1);
    const result = await cases[name](env, ctx);
    return name === "who" ? new Response(result) : Response.json(result);
  },
};
