/** `WebSocket`, of a pair, of `fetch`, or made with a URL (https://websockets.spec.whatwg.org, and Workers' extensions). */
import {
  ArrayPrototypePush,
  bytesOf,
  MathFloor,
  MathMax,
  MathMin,
  NumberIsNaN,
  PromisePrototypeThen,
  PromiseResolve,
  StringPrototypeIncludes,
  StringPrototypeSlice,
  TypedArrayPrototypeGetBuffer,
  TypedArrayPrototypeGetByteLength,
  TypedArrayPrototypeSlice,
} from "../internal/primordials.ts";
import { defineConstants, finishInterface, INTERNAL, requireArguments, toDictionary, toUSVString } from "../internal/webidl.ts";
import { CloseEvent, defineHandler, dispatch, ErrorEvent, Event, EventTarget, MessageEvent, trusted } from "../dom/event.ts";
import { DOMException } from "../dom/exception.ts";
import { blobBytes, isBlob, newBlob } from "../fetch/blob.ts";
import { socketAnswer } from "../fetch/fetch.ts";
import { fromHead, peek } from "../fetch/headers.ts";
import { startTimer } from "../time/timers.ts";
import { hrefOf, URL } from "../url/url.ts";
import { holds } from "../worker/compatibility.ts";
import type { SocketSink } from "../worker/sockets.ts";
import type { Head } from "../ops.d.ts";
import * as ops from "../host.ts";
import { BROKEN, type Data, type Link, NO_CODE, StreamLink } from "./link.ts";
import { protocolList } from "./protocols.ts";

const REASON_MAX = 123;

/** What has arrived at an end of a pair and was not taken yet. */
type Item = { data: Data } | { code: number; reason: string };

let attach: (socket: WebSocket, link: Link) => void;
let connectPair: (left: WebSocket, right: WebSocket) => void;
let takeForResponse: (socket: WebSocket) => { peer: WebSocket | undefined; link: Link | undefined; inbox: Item[] };
let couple: (socket: WebSocket, link: StreamLink) => void;
let isWebSocket: (value: unknown) => value is WebSocket;

export class WebSocket extends EventTarget {
  #link: Link | undefined;
  /** The other end, as long as it is in this worker. */
  #peer: WebSocket | undefined;
  #inbox: Item[] = [];
  #draining = false;
  #connecting = false;
  /** Of `new WebSocket()`; such sockets need no `accept`. */
  #constructed = false;
  #accepted = false;
  /** Given to a response: its messages go to the client. */
  #used = false;
  #halfOpen = !holds("2026-04-07", "web_socket_auto_reply_to_close", "web_socket_manual_reply_to_close");
  #closedIn = false;
  #closedOut = false;
  #over = false;
  /** Closed before it was connected. */
  #givenUp = false;
  #cancel: (() => void) | undefined;
  #url: string | null = null;
  #protocol = "";
  #binaryType = holds("2026-03-17", "websocket_standard_binary_type", "no_websocket_standard_binary_type")
    ? "blob"
    : "arraybuffer";
  /** Bytes sent since the turn began. */
  #sent = 0;

  constructor(url: string, protocols: unknown = undefined) {
    super();
    if ((url as unknown) === INTERNAL) return;
    requireArguments(arguments.length, 1, "WebSocket constructor");
    const parsed = parseUrl(toUSVString(url));
    this.#url = hrefOf(parsed);
    const list = protocolList(protocols);
    this.#constructed = true;
    this.#connecting = true;
    const head = list === "" ? "" : `sec-websocket-protocol\0${list}\0`;
    void this.#connect(parsed, head);
  }

  static {
    attach = (socket, link) => {
      socket.#link = link;
    };
    connectPair = (left, right) => {
      left.#peer = right;
      right.#peer = left;
      left.#link = new PairLink((item) => right.#arrive(item));
      right.#link = new PairLink((item) => left.#arrive(item));
    };
    takeForResponse = (socket) => {
      if (socket.#constructed) throw new TypeError("A WebSocket made with a URL cannot be given to a response.");
      if (socket.#used) throw new TypeError("The WebSocket was given to a response already.");
      if (socket.#accepted) throw new TypeError("A WebSocket on which accept() was called cannot be given to a response.");
      socket.#used = true;
      const inbox = socket.#inbox;
      socket.#inbox = [];
      return { peer: socket.#peer, link: socket.#link, inbox };
    };
    couple = (socket, link) => {
      socket.#link = link;
      socket.#peer = undefined;
      if (socket.#accepted) socket.#open();
    };
    isWebSocket = (value): value is WebSocket => typeof value === "object" && value !== null && #used in value;
  }

  async #connect(url: URL, head: Head): Promise<void> {
    try {
      const answer = await socketAnswer(`http${StringPrototypeSlice(hrefOf(url), 2)}`, head, undefined, (call) => {
        this.#cancel = () => call.cancel(new TypeError("The WebSocket was closed before the connection was established."));
        if (this.#givenUp) this.#cancel();
      });
      const { call } = answer;
      this.#cancel = undefined;
      call.over();
      if (answer.status !== 101) {
        ops.fetchCancel(call.key);
        throw new TypeError(`The server answered the WebSocket handshake with status ${answer.status}.`);
      }
      this.#connecting = false;
      this.#accepted = true;
      this.#link = new StreamLink(call.key, call.owner, undefined);
      this.#protocol = peek(fromHead(answer.head, true), "sec-websocket-protocol") ?? "";
      dispatch(this, trusted(new Event("open")));
      this.#open();
    } catch (error) {
      this.#connecting = false;
      this.#closedIn = this.#closedOut = this.#over = true;
      const message = (error as { message?: unknown } | undefined)?.message;
      dispatch(this, trusted(new ErrorEvent("error", { message: typeof message === "string" ? message : "", error })));
      // An event of its own: who waits for the first may only then begin to wait for the second.
      startTimer(() => this.#dispatchClose(BROKEN, ""), 0, false);
    }
  }

  /** Begins to take what arrives. */
  #open(): void {
    this.#link?.open(this.#sink());
    if (this.#inbox.length > 0) this.#drainSoon();
  }

  #sink(): SocketSink {
    return {
      message: (data) => this.#receive(data),
      closed: (code, reason) => this.#receiveClose(code, reason),
      writable: () => {},
      dropped: () => {
        this.#closedIn = this.#closedOut = this.#over = true;
      },
    };
  }

  /** Something came from the other end of the pair. */
  #arrive(item: Item): void {
    ArrayPrototypePush(this.#inbox, item);
    if (this.#accepted) this.#drainSoon();
  }

  /** Not at once: who sends does not expect to be called before `send` returns. */
  #drainSoon(): void {
    if (this.#draining) return;
    this.#draining = true;
    startTimer(() => this.#drain(), 0, false);
  }

  #drain(): void {
    this.#draining = false;
    const items = this.#inbox;
    this.#inbox = [];
    for (let i = 0; i < items.length; i++) {
      const item = items[i]!;
      if ("data" in item) this.#receive(item.data);
      else this.#receiveClose(item.code, item.reason);
    }
  }

  #receive(data: Data): void {
    if (this.#closedIn) return;
    let value: unknown = data;
    if (typeof data !== "string") {
      value = this.#binaryType === "blob" ? newBlob(data, "") : TypedArrayPrototypeGetBuffer(data);
    }
    dispatch(this, trusted(new MessageEvent("message", { __proto__: null, data: value } as object)));
  }

  #receiveClose(code: number, reason: string): void {
    if (this.#closedIn) return;
    this.#closedIn = true;
    if (code === BROKEN) {
      this.#closedOut = true;
    } else if (!this.#closedOut && !this.#halfOpen) {
      this.#closedOut = true;
      this.#link?.close(code, "");
    }
    this.#dispatchClose(code, reason);
    this.#finishIfOver();
  }

  #dispatchClose(code: number, reason: string): void {
    dispatch(this, trusted(new CloseEvent("close", { code, reason, wasClean: code !== BROKEN })));
  }

  #finishIfOver(): void {
    if (!this.#closedIn || !this.#closedOut || this.#over) return;
    this.#over = true;
    this.#link?.over();
  }

  /** Begins to take messages (Workers). With `allowHalfOpen` a close of the peer is answered by `close()` only. */
  accept(options: { allowHalfOpen?: boolean } | undefined = undefined): void {
    if (this.#constructed) throw new TypeError("A WebSocket made with a URL needs no accept().");
    if (this.#used) throw new TypeError("The WebSocket was given to a response: its other end is to be accepted.");
    const { allowHalfOpen } = toDictionary<{ allowHalfOpen: boolean }>(options, "WebSocket.accept options");
    if (this.#accepted) return;
    if (allowHalfOpen !== undefined) this.#halfOpen = !!allowHalfOpen;
    this.#accepted = true;
    this.#open();
  }

  send(data: unknown): void {
    requireArguments(arguments.length, 1, "WebSocket.send");
    let message: Data | undefined = typeof data === "string" ? data : isBlob(data) ? blobBytes(data) : bytesOf(data);
    if (message === undefined) message = `${data as string}`;
    if (this.#connecting) throw new DOMException("The WebSocket is not connected yet.", "InvalidStateError");
    if (this.#closedOut) {
      if (this.#constructed || this.#closedIn) return;
      throw new TypeError("send() was called after close().");
    }
    if (!this.#accepted) throw new TypeError("accept() must be called on the WebSocket before send().");
    // They count as waiting until the turn ends, however soon they go.
    if (this.#sent === 0) {
      PromisePrototypeThen(PromiseResolve(undefined), () => {
        this.#sent = 0;
      });
    }
    this.#sent += typeof message === "string" ? ops.utf8Length(message) : TypedArrayPrototypeGetByteLength(message);
    if (this.#link?.send(message) === false) {
      startTimer(() => this.#receiveClose(BROKEN, "The peer takes messages too slowly."), 0, false);
    }
  }

  close(code: number | undefined = undefined, reason: string | undefined = undefined): void {
    void this.#url;
    const number = code === undefined ? undefined : toCode(code);
    const text = reason === undefined ? "" : toUSVString(reason);
    if (ops.utf8Length(text) > REASON_MAX) {
      throw new DOMException("The reason for closing is longer than 123 bytes.", "SyntaxError");
    }
    if (this.#connecting) {
      this.#givenUp = true;
      this.#cancel?.();
      return;
    }
    if (this.#closedOut || this.#used) return;
    if (!this.#accepted) throw new TypeError("accept() must be called on the WebSocket before close().");
    this.#closedOut = true;
    this.#link?.close(number ?? (text === "" ? NO_CODE : 1000), text);
    this.#finishIfOver();
  }

  get readyState(): number {
    if (this.#connecting) return this.#givenUp ? 2 : 0;
    if (this.#closedIn && this.#closedOut) return 3;
    return this.#closedIn || this.#closedOut ? 2 : 1;
  }
  get bufferedAmount(): number {
    return MathMax(this.#link?.buffered() ?? 0, this.#sent);
  }
  get url(): string | null {
    return this.#url;
  }
  get protocol(): string {
    return this.#protocol;
  }
  get extensions(): string {
    void this.#url;
    return "";
  }
  get binaryType(): string {
    return this.#binaryType;
  }
  set binaryType(value: string) {
    void this.#url;
    const type = `${value}`;
    if (type === "blob" || type === "arraybuffer") this.#binaryType = type;
  }
}
for (const type of ["open", "message", "close", "error"]) defineHandler(WebSocket.prototype, type);
finishInterface(WebSocket, "WebSocket");
defineConstants(WebSocket, {
  CONNECTING: 0,
  OPEN: 1,
  CLOSING: 2,
  CLOSED: 3,
  READY_STATE_CONNECTING: 0,
  READY_STATE_OPEN: 1,
  READY_STATE_CLOSING: 2,
  READY_STATE_CLOSED: 3,
});

/** The other end is in this worker. */
class PairLink implements Link {
  readonly #arrive: (item: Item) => void;

  constructor(arrive: (item: Item) => void) {
    this.#arrive = arrive;
  }
  send(data: Data): boolean {
    // What is sent is what the bytes are now.
    this.#arrive({ data: typeof data === "string" ? data : TypedArrayPrototypeSlice(data) });
    return true;
  }
  close(code: number, reason: string): void {
    this.#arrive({ code, reason });
  }
  open(): void {}
  over(): void {}
  buffered(): number {
    return 0;
  }
}

function parseUrl(text: string): URL {
  const url = URL.parse(text);
  if (url === null) throw new DOMException(`Invalid WebSocket URL: ${text}`, "SyntaxError");
  if (url.protocol === "http:") url.protocol = "ws:";
  else if (url.protocol === "https:") url.protocol = "wss:";
  if (url.protocol !== "ws:" && url.protocol !== "wss:") {
    throw new DOMException("The URL of a WebSocket must begin with ws: or wss:.", "SyntaxError");
  }
  if (StringPrototypeIncludes(hrefOf(url), "#")) {
    throw new DOMException("The URL of a WebSocket must not have a fragment.", "SyntaxError");
  }
  return url;
}

/** Codes that may be sent: those of RFC 6455, section 7.4, the registered ones, and the worker's own. */
function toCode(value: unknown): number {
  const number = Number(value);
  const code = NumberIsNaN(number) ? 0 : MathMin(MathMax(MathFloor(number + 0.5), 0), 65535);
  const standard = code >= 1000 && code <= 1014 && code !== 1004 && code !== 1005 && code !== 1006;
  if (!standard && !(code >= 3000 && code <= 4999)) {
    throw new DOMException(`The close code ${code} cannot be sent; use 1000, or 3000 to 4999.`, "InvalidAccessError");
  }
  return code;
}

export { attach, connectPair, couple, isWebSocket, takeForResponse };
