/** `EventSource` (HTML Standard, "Server-sent events") over `fetch`, and Workers' `EventSource.from`. */
import { bytesOf, RegExpPrototypeExec } from "../internal/primordials.ts";
import { defineConstants, finishInterface, INTERNAL, requireArguments, toDictionary, toUSVString } from "../internal/webidl.ts";
import { defineHandler, dispatch, ErrorEvent, Event, EventTarget, MessageEvent, trusted } from "../dom/event.ts";
import { DOMException } from "../dom/exception.ts";
import { abortSignal, newSignal } from "../dom/abort.ts";
import { fetch } from "../fetch/fetch.ts";
import { fromHead, peek } from "../fetch/headers.ts";
import { streamOfBody } from "../fetch/body.ts";
import { isResponse, rawBodyOf, type Response, statusOf } from "../fetch/response.ts";
import { cancelQuietly, isReadableStream, openReader, type ReadableStream, readChunk } from "../streams/streams.ts";
import { cancelTimer, startTimer } from "../time/timers.ts";
import { hrefOf, URL } from "../url/url.ts";
import * as ops from "../host.ts";
import { EventStreamParser, type ServerEvent } from "../eventsource/parser.ts";

const CONNECTING = 0;
const OPEN = 1;
const CLOSED = 2;
/** Until the server says otherwise, milliseconds. */
const RETRY_MS = 3000;
/** As long as a server may ask for. */
const RETRY_MAX_MS = 24 * 60 * 60 * 1000;
const EVENT_STREAM = /^\s*text\/event-stream\s*(;|$)/i;

interface Chunks {
  /** Null at the end. */
  next(): Promise<Uint8Array<ArrayBuffer> | null>;
  cancel(): void;
}

export class EventSource extends EventTarget {
  #url: string;
  #withCredentials = false;
  #state = CONNECTING;
  #fetch: typeof fetch | undefined;
  #lastEventId = "";
  #retry = RETRY_MS;
  #timer = 0;
  #signal = newSignal();
  #chunks: Chunks | undefined;
  /** Made from a stream: there is nothing to connect to again. */
  #once = false;

  constructor(url: string, init: { withCredentials?: boolean; fetcher?: { fetch: typeof fetch } } | undefined = undefined) {
    super();
    if ((url as unknown) === INTERNAL) {
      this.#url = "";
      this.#once = true;
      return;
    }
    requireArguments(arguments.length, 1, "EventSource constructor");
    const parsed = URL.parse(toUSVString(url));
    if (parsed === null) throw new DOMException(`Invalid URL: ${url}`, "SyntaxError");
    const { withCredentials, fetcher } = toDictionary<{ withCredentials: boolean; fetcher: { fetch: typeof fetch } }>(
      init,
      "EventSource options",
    );
    this.#url = hrefOf(parsed);
    this.#withCredentials = !!withCredentials;
    if (fetcher !== undefined && fetcher !== null) {
      if (typeof fetcher.fetch !== "function") throw new TypeError("The option fetcher must have a method fetch.");
      this.#fetch = (input, options) => fetcher.fetch(input, options);
    }
    void this.#connect();
  }

  /** Reads events from a stream of bytes (Workers). */
  static from(stream: ReadableStream<unknown>): EventSource {
    requireArguments(arguments.length, 1, "EventSource.from");
    if (!isReadableStream(stream)) throw new TypeError("EventSource.from takes a ReadableStream.");
    const source = new EventSource(INTERNAL as unknown as string);
    const chunks = ofStream(stream);
    source.#chunks = chunks;
    startTimer(() => void source.#read(chunks), 0, false);
    return source;
  }

  async #connect(): Promise<void> {
    let response: Response;
    try {
      let head = "accept\0text/event-stream\0cache-control\0no-cache\0";
      // In UTF-8, as a byte string; it has no line breaks and no NUL.
      if (this.#lastEventId !== "") head += `last-event-id\0${ops.decodeLatin1(ops.encodeUtf8(this.#lastEventId))}\0`;
      const init = { headers: fromHead(head, false), signal: this.#signal };
      response = await (this.#fetch ?? fetch)(this.#url, init);
      if (!isResponse(response)) throw new TypeError("The fetcher's fetch did not give a Response.");
    } catch (error) {
      if (this.#state === CLOSED) return;
      // A network error may pass.
      this.#reconnect(error);
      return;
    }
    if (this.#state === CLOSED) return;
    const stream = streamOfBody(rawBodyOf(response));
    const type = peek(response.headers, "content-type") ?? "";
    const fits = statusOf(response) === 200 && RegExpPrototypeExec(EVENT_STREAM, type) !== null;
    if (!fits || stream === null) {
      if (stream !== null) ofStream(stream).cancel();
      this.#fail(
        new TypeError(
          `${this.#url} answered with status ${statusOf(response)} and type "${type}"; an EventSource needs 200 and text/event-stream.`,
        ),
      );
      return;
    }
    const chunks = ofStream(stream);
    this.#chunks = chunks;
    await this.#read(chunks);
  }

  async #read(chunks: Chunks): Promise<void> {
    if (this.#state === CLOSED) return;
    this.#state = OPEN;
    dispatch(this, trusted(new Event("open")));
    const parser = new EventStreamParser(this.#lastEventId);
    let broken: unknown;
    try {
      for (;;) {
        // A handler may have closed it.
        if ((this.#state as number) === CLOSED) return chunks.cancel();
        const chunk = await chunks.next();
        if ((this.#state as number) === CLOSED) return chunks.cancel();
        if (chunk === null) break;
        parser.push(chunk);
        for (let event = parser.take(); event !== undefined; event = parser.take()) {
          this.#deliver(event);
          if ((this.#state as number) === CLOSED) return chunks.cancel();
        }
        this.#lastEventId = parser.lastEventId;
        if (parser.retry !== undefined) this.#retry = parser.retry < RETRY_MAX_MS ? parser.retry : RETRY_MAX_MS;
      }
    } catch (error) {
      if ((this.#state as number) === CLOSED) return;
      broken = error;
      if (!(error instanceof TypeError)) return this.#fail(error);
    }
    if (this.#once) this.#fail(broken);
    else this.#reconnect(broken);
  }

  #deliver({ type, data, lastEventId }: ServerEvent): void {
    this.#lastEventId = lastEventId;
    const origin = this.#once ? "" : (URL.parse(this.#url)?.origin ?? "");
    dispatch(this, trusted(new MessageEvent(type, { __proto__: null, data, lastEventId, origin } as object)));
  }

  #reconnect(error: unknown): void {
    this.#chunks = undefined;
    this.#state = CONNECTING;
    this.#dispatchError(error);
    if ((this.#state as number) === CLOSED) return;
    try {
      this.#timer = startTimer(() => void this.#connect(), this.#retry, false);
    } catch (refused) {
      this.#fail(refused);
    }
  }

  #fail(error: unknown): void {
    this.#state = CLOSED;
    this.#chunks = undefined;
    this.#dispatchError(error);
  }

  #dispatchError(error: unknown): void {
    const message = (error as { message?: unknown } | undefined)?.message;
    dispatch(this, trusted(new ErrorEvent("error", { error, message: typeof message === "string" ? message : "" })));
  }

  close(): void {
    if (this.#state === CLOSED) return;
    this.#state = CLOSED;
    cancelTimer(this.#timer);
    this.#chunks?.cancel();
    this.#chunks = undefined;
    abortSignal(this.#signal, undefined);
  }

  get url(): string {
    return this.#url;
  }
  get withCredentials(): boolean {
    return this.#withCredentials;
  }
  get readyState(): number {
    return this.#state;
  }
}
for (const type of ["open", "message", "error"]) defineHandler(EventSource.prototype, type);
finishInterface(EventSource, "EventSource");
defineConstants(EventSource, { CONNECTING, OPEN, CLOSED });

function ofStream(stream: ReadableStream<unknown>): Chunks {
  const reader = openReader(stream);
  return {
    async next() {
      const { done, value } = await readChunk(reader);
      if (done) return null;
      const bytes = bytesOf(value);
      if (bytes === undefined) throw new DOMException("An event stream consists of bytes.", "DataError");
      return bytes;
    },
    cancel: () => cancelQuietly(reader, undefined),
  };
}
