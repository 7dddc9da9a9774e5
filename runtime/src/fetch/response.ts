/** `Response`. */
import { JSONStringify, NumberIsInteger, StringPrototypeCharCodeAt, uncurryThis } from "../internal/primordials.ts";
import { finishInterface, INTERNAL, requireArguments, toDictionary, toUSVString } from "../internal/webidl.ts";
import { parseHref } from "../url/url.ts";
import { loadPart } from "../internal/parts.ts";
import type { WebSocket } from "../websocket/socket.ts";
import type { Head } from "../ops.d.ts";
import { cloneBody, CONSUMED, extractBody, extractedType, installBody, type RawBody, TEXT_TYPE } from "./body.ts";
import { reasonPhrase } from "./reason-phrase.ts";
import { addDefault, copyHeaders, fill, freeze, fromHead, Headers, peek, toHead } from "./headers.ts";

interface ResponseInit {
  status: number;
  statusText: string;
  headers: unknown;
  /** Workers: "manual" where the body is encoded already as its header says. */
  encodeBody: string;
  /** Workers: the answer to a handshake; goes with status 101. */
  webSocket: WebSocket | null;
}

type WebSocketPart = typeof import("../parts/websocket.ts");

/** What few responses have. */
interface Extra {
  statusText: string;
  type: string;
  url: string;
  redirected: boolean;
  /** Workers: the bytes are what the header `content-encoding` says. */
  encoded?: boolean;
}

const JSON_TYPE = "application/json";
const TEXT_HEAD = `content-type\0${TEXT_TYPE}\0`;
const JSON_HEAD = `content-type\0${JSON_TYPE}\0`;

function toStatus(value: unknown): number {
  const status = Number(value) & 0xffff;
  if (status < 200 || status > 599) throw new RangeError(`The status ${String(value)} is not between 200 and 599.`);
  return status;
}

function isNullBodyStatus(status: number): boolean {
  return status === 204 || status === 205 || status === 304 || status === 101;
}

function checkReasonPhrase(text: string): void {
  for (let i = 0; i < text.length; i++) {
    const code = StringPrototypeCharCodeAt(text, i);
    if (code > 255 || code === 127 || (code < 32 && code !== 9)) {
      throw new TypeError("The status text has characters that are not allowed.");
    }
  }
}

let isResponse: (value: unknown) => value is Response;
let statusOf: (response: Response) => number;
let headOf: (response: Response) => Head;
let rawBodyOf: (response: Response) => RawBody;
let webSocketOf: (response: Response) => WebSocket | null;
let setWebSocket: (response: Response, socket: WebSocket) => void;
let markUsed: (response: Response) => void;
let isEncoded: (response: Response) => boolean;
let fromFetch: (status: number, head: Head, body: RawBody, url: string, redirected: boolean) => Response;

export class Response {
  #status = 200;
  #raw: RawBody = null;
  /** The body's own type; counts only as long as there are no headers. */
  #contentType: string | undefined;
  #headers: Headers | undefined;
  #extra: Extra | undefined;
  #webSocket: WebSocket | null = null;

  constructor(body: unknown = null, init: Partial<ResponseInit> | undefined = undefined) {
    if (typeof body === "string") {
      this.#raw = body;
      this.#contentType = TEXT_TYPE;
    } else if (body !== null && body !== INTERNAL) {
      this.#raw = extractBody(body);
      this.#contentType = extractedType;
    }
    if (init !== undefined) this.#initialize(init);
  }

  static {
    isResponse = (value): value is Response => typeof value === "object" && value !== null && #status in value;
    statusOf = (response) => response.#status;
    headOf = (response) => {
      const headers = response.#headers;
      if (headers !== undefined) return toHead(headers);
      const type = response.#contentType;
      if (type === TEXT_TYPE) return TEXT_HEAD;
      if (type === JSON_TYPE) return JSON_HEAD;
      return type === undefined ? "" : `content-type\0${type}\0`;
    };
    webSocketOf = (response) => response.#webSocket;
    setWebSocket = (response, socket) => {
      response.#webSocket = socket;
    };
    rawBodyOf = (response) => response.#raw;
    isEncoded = (response) => response.#extra?.encoded === true;
    markUsed = (response) => {
      response.#raw = CONSUMED;
    };
    fromFetch = (status, head, body, url, redirected) => {
      const response = new Response(INTERNAL);
      response.#status = status;
      response.#raw = body;
      response.#headers = fromHead(head, true);
      response.#extra = { statusText: reasonPhrase(status), type: "basic", url, redirected };
      return response;
    };
    installBody(Response.prototype, {
      get: (response) => response.#raw,
      set: (response, raw) => {
        response.#raw = raw;
      },
      contentType: (response) =>
        response.#headers !== undefined ? peek(response.#headers, "content-type") : (response.#contentType ?? null),
    });
  }

  #initialize(given: Partial<ResponseInit>): void {
    const init = toDictionary<ResponseInit>(given, "Response options");
    const { encodeBody, headers, status, statusText, webSocket } = init;
    if (webSocket !== undefined && webSocket !== null) {
      if (!loadPart<WebSocketPart>("websocket").isWebSocket(webSocket)) {
        throw new TypeError("The option webSocket must be a WebSocket.");
      }
      if (Number(status) !== 101) throw new RangeError("A response with a webSocket must have the status 101.");
      this.#webSocket = webSocket;
      this.#status = 101;
    } else if (status !== undefined) {
      this.#status = toStatus(status);
    }
    if (statusText !== undefined && `${statusText}` !== "") {
      checkReasonPhrase(`${statusText}`);
      this.#extra = { statusText: `${statusText}`, type: "default", url: "", redirected: false };
    }
    if (encodeBody !== undefined) {
      const mode = `${encodeBody}`;
      if (mode !== "automatic" && mode !== "manual") throw new TypeError('encodeBody must be "automatic" or "manual".');
      this.#extra ??= { statusText: "", type: "default", url: "", redirected: false };
      this.#extra.encoded = mode === "manual";
    }
    if (headers !== undefined) {
      const own = new Headers();
      fill(own, headers);
      if (this.#contentType !== undefined) addDefault(own, "content-type", this.#contentType);
      this.#headers = own;
    }
    if (this.#raw !== null && isNullBodyStatus(this.#status)) {
      throw new TypeError(`A response with status ${this.#status} cannot have a body.`);
    }
  }

  static error(): Response {
    const response = new Response(INTERNAL);
    response.#status = 0;
    response.#headers = new Headers();
    freeze(response.#headers);
    response.#extra = { statusText: "", type: "error", url: "", redirected: false };
    return response;
  }

  static json(data: unknown, init: Partial<ResponseInit> | undefined = undefined): Response {
    requireArguments(arguments.length, 1, "Response.json");
    const text = JSONStringify(data);
    if (text === undefined) throw new TypeError("The value cannot be written as JSON.");
    const response = new Response(INTERNAL);
    response.#raw = text;
    response.#contentType = JSON_TYPE;
    if (init !== undefined) response.#initialize(init);
    return response;
  }

  static redirect(url: string, status: number = 302): Response {
    requireArguments(arguments.length, 1, "Response.redirect");
    const href = parseHref(toUSVString(url));
    if (href === undefined) throw new TypeError(`Invalid URL: ${url}`);
    const code = Number(status);
    if (!NumberIsInteger(code) || !(code === 301 || code === 302 || code === 303 || code === 307 || code === 308)) {
      throw new RangeError(`The status ${String(status)} is no redirection.`);
    }
    const response = new Response(INTERNAL);
    response.#status = code;
    response.#headers = fromHead(`location\0${href}\0`, true);
    return response;
  }

  get type(): string {
    return this.#extra === undefined ? "default" : this.#extra.type;
  }
  get url(): string {
    return this.#extra === undefined ? "" : this.#extra.url;
  }
  get redirected(): boolean {
    return this.#extra === undefined ? false : this.#extra.redirected;
  }
  get status(): number {
    return this.#status;
  }
  get ok(): boolean {
    return this.#status >= 200 && this.#status <= 299;
  }
  get statusText(): string {
    return this.#extra === undefined ? "" : this.#extra.statusText;
  }
  get headers(): Headers {
    if (this.#headers === undefined) this.#headers = fromHead(headOf(this), false);
    return this.#headers;
  }

  get webSocket(): WebSocket | null {
    return this.#webSocket;
  }

  clone(): Response {
    if (this.#webSocket !== null) throw new TypeError("A response with a webSocket cannot be cloned.");
    const [mine, theirs] = cloneBody(this.#raw);
    const copy = new Response(INTERNAL);
    this.#raw = mine;
    copy.#raw = theirs;
    copy.#status = this.#status;
    copy.#contentType = this.#contentType;
    copy.#extra = this.#extra;
    if (this.#headers !== undefined) copy.#headers = copyHeaders(this.#headers);
    return copy;
  }
}
finishInterface(Response, "Response");
/** All of a body, whatever user code does to the interface. */
const readBytes = uncurryThis((Response.prototype as unknown as { arrayBuffer(): Promise<ArrayBuffer> }).arrayBuffer);

export { fromFetch, headOf, isNullBodyStatus, isEncoded, isResponse, markUsed, rawBodyOf, readBytes, setWebSocket, statusOf, webSocketOf };
