/** `node:http` and `node:https`: clients over `fetch()`. */
import { unsupported } from "../internal/node-errors.ts";
import { Agent, SecureAgent } from "../node/http/agent.ts";
import { agents, ClientRequest } from "../node/http/client.ts";
import { IncomingMessage } from "../node/http/incoming.ts";
import { checkFieldName, checkFieldValue, OutgoingMessage } from "../node/http/outgoing.ts";
import { METHODS, STATUS_CODES } from "../node/http/tables.ts";

type Name = "http" | "https";

function client(name: Name): Record<string, unknown> {
  const request = (input: unknown, options?: unknown, listener?: unknown) => {
    const among = (given: unknown) => ({ _defaultAgent: agents[name], ...(given as object) });
    const isPlace = typeof input === "string" || typeof (input as { origin?: unknown } | undefined)?.origin === "string";
    if (!isPlace) return new ClientRequest(among(input), options);
    return typeof options === "function" ? new ClientRequest(input, among({}), options) : new ClientRequest(input, among(options), listener);
  };
  const none = function () {
    throw unsupported(`${name}.createServer()`, "export a default object with a fetch handler, which is the server");
  };
  return {
    request,
    get(input: unknown, options?: unknown, listener?: unknown) {
      const started = request(input, options, listener);
      started.end();
      return started;
    },
    Agent: name === "https" ? SecureAgent : Agent,
    get globalAgent() {
      return agents[name];
    },
    set globalAgent(agent: Agent) {
      agents[name] = agent;
    },
    createServer: none,
    Server: none,
  };
}

const http = client("http");
Object.assign(http, {
  ClientRequest,
  IncomingMessage,
  OutgoingMessage,
  METHODS,
  STATUS_CODES,
  maxHeaderSize: 16384,
  setMaxIdleHTTPParsers() {},
  validateHeaderName: (name: unknown) => checkFieldName(name),
  validateHeaderValue: checkFieldValue,
});

export const modules = { "node:http": http, "node:https": client("https") };
