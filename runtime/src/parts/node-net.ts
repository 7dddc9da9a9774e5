/** `node:net` and `node:tls`: clients over the sockets of `cloudflare:sockets`. */
import { unsupported } from "../internal/node-errors.ts";
import { isIP, isIPv4, isIPv6 } from "../node/net/address.ts";
import { arranged, Socket } from "../node/net/socket.ts";
import { connect as connectSecurely, createSecureContext, TLSSocket } from "../node/net/tls.ts";

function connect(...args: unknown[]): Socket {
  return new Socket(arranged(args)[0]).connect(...args);
}

function none(): never {
  throw unsupported("A server of node:net", "nothing connects to workers; export a fetch handler");
}

const net = {
  Socket, Stream: Socket, connect, createConnection: connect, isIP, isIPv4, isIPv6, createServer: none, Server: none,
  getDefaultAutoSelectFamily: () => true, setDefaultAutoSelectFamily() {},
};
const tls = {
  TLSSocket, connect: connectSecurely, createSecureContext, createServer: none, Server: none,
  DEFAULT_MIN_VERSION: "TLSv1.2", DEFAULT_MAX_VERSION: "TLSv1.3",
};

export const modules = { "node:net": net, "node:tls": tls };
