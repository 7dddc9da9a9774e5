/**
 * A request of nobody, served while the snapshot is made: what nearly every request runs is compiled in the snapshot, once,
 * instead of in each isolate.
 */
import { Headers } from "../fetch/headers.ts";
import { Response } from "../fetch/response.ts";
import type { Request } from "../fetch/request.ts";
import { URL } from "../url/url.ts";
import { dispatchFetch } from "./dispatch.ts";
import { forget, init } from "./init.ts";

/** No stream has it, so that ops on it do nothing. */
const NOBODY = 0;
const HEAD = "host\0localhost\0accept\0*/*\0";

export function warmUp(): void {
  const plain = { fetch: () => new Response("ok") };
  const typical = {
    async fetch(request: Request): Promise<Response> {
      const url = new URL(request.url);
      const answer = { method: request.method, path: url.pathname, of: url.searchParams.get("of"), accept: request.headers.get("accept") };
      await answer;
      const headers = new Headers({ "content-type": "application/json" });
      headers.set("x-served", "nobody");
      if (answer.path === "/json") return Response.json(answer, { status: 201 });
      return new Response(JSON.stringify(answer), { headers });
    },
  };
  for (const worker of [plain, typical]) {
    init({ default: worker }, "[]", "");
    dispatchFetch(NOBODY, "GET", "http://localhost/?of=nobody", HEAD, false, false);
    dispatchFetch(NOBODY, "GET", "http://localhost/json", HEAD, false, true);
  }
  forget();
}
