/** `WebSocket` and `WebSocketPair`, and what dispatch and `fetch` need when a response has a `webSocket`. */
import { ObjectDefineProperty } from "../internal/primordials.ts";
import { INTERNAL } from "../internal/webidl.ts";
import { headOf, type Response } from "../fetch/response.ts";
import { type ExecutionContext, finishResponse, keyOf } from "../worker/context.ts";
import type { Key } from "../ops.d.ts";
import * as ops from "../host.ts";
import { bridge, StreamLink } from "../websocket/link.ts";
import { attach, connectPair, couple, takeForResponse, WebSocket } from "../websocket/socket.ts";

const newSocket = (): WebSocket => new WebSocket(INTERNAL as unknown as string);

/** Two ends in one worker: what is sent to one arrives at the other. */
export class WebSocketPair {
  constructor() {
    const ends = [newSocket(), newSocket()] as const;
    connectPair(ends[0], ends[1]);
    for (const i of [0, 1] as const) {
      ObjectDefineProperty(this, i, { value: ends[i], writable: true, enumerable: true, configurable: true });
    }
  }
}
ObjectDefineProperty(WebSocketPair, "name", { value: "WebSocketPair", configurable: true });
ObjectDefineProperty(WebSocketPair.prototype, Symbol.toStringTag, { value: "WebSocketPair", configurable: true });

/** The socket of a subrequest that was answered with status 101. */
export function ofStream(key: Key, owner: Key): WebSocket {
  const socket = newSocket();
  attach(socket, new StreamLink(key, owner, undefined));
  return socket;
}

/** Answers a request with a WebSocket. Throws when the socket or the request is not fit for it. */
export function answer(context: ExecutionContext, response: Response, socket: WebSocket): void {
  const key = keyOf(context);
  const { peer, link, inbox } = takeForResponse(socket);
  if (!ops.socketAnswer(key, headOf(response))) {
    throw new TypeError('The response has a webSocket, but the request did not ask for one by "Upgrade: websocket".');
  }
  const mine = new StreamLink(key, key, () => finishResponse(context));
  if (link instanceof StreamLink) {
    bridge(mine, link);
    return;
  }
  if (peer !== undefined) couple(peer, mine);
  for (let i = 0; i < inbox.length; i++) {
    const item = inbox[i]!;
    if ("data" in item) mine.send(item.data);
    else mine.close(item.code, item.reason);
  }
}

export { isWebSocket } from "../websocket/socket.ts";
export { WebSocket };
