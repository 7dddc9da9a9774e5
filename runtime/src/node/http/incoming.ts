/** `IncomingMessage`: the response to a request, as a stream. */
import { Buffer } from "node:buffer";
import { Readable } from "node:stream";
import { type Response, rawBodyOf } from "../../fetch/response.ts";
import { coded } from "../../internal/node-errors.ts";
import { ticks } from "../../internal/node-ticks.ts";
import { IncomingBody } from "../../streams/incoming.ts";
import type { Socket } from "./agent.ts";
import { STATUS_CODES } from "./tables.ts";

export const reset = (text: string): Error => coded(new Error(text), "ECONNRESET");

interface Reader {
  read(): Promise<{ done: boolean; value: Uint8Array }>;
  cancel(reason?: unknown): Promise<void>;
}

export class IncomingMessage extends (Readable as new (options?: object) => any) {
  httpVersion = "1.1";
  httpVersionMajor = 1;
  httpVersionMinor = 1;
  complete = false;
  aborted = false;
  url = "";
  method: string | null = null;
  headers: Record<string, string | string[]> = {};
  rawHeaders: string[] = [];
  trailers = {};
  rawTrailers: string[] = [];
  statusCode: number | null = null;
  statusMessage: string | null = null;
  socket: Socket;
  #reader: Reader | undefined;
  /** Told of each chunk, for timeouts. */
  #active: () => void = () => undefined;

  constructor(socket: Socket) {
    super();
    this.socket = socket;
  }
  /** Takes the response over. */
  static receive(message: IncomingMessage, response: Response, active: () => void): void {
    message.#active = active;
    message.statusCode = response.status;
    message.statusMessage = response.statusText || STATUS_CODES[response.status] || "";
    (response.headers as unknown as Map<string, string>).forEach((value, name) => {
      message.rawHeaders.push(name, value);
      if (name === "set-cookie") ((message.headers[name] ??= []) as string[]).push(value);
      else message.headers[name] = value;
    });
    // As in Node, who asked for an encoding decodes it.
    const raw = rawBodyOf(response);
    if (raw instanceof IncomingBody) raw.encoding = undefined;
    message.#reader = (response as { body?: { getReader(): Reader } | null }).body?.getReader();
  }
  get connection(): Socket {
    return this.socket;
  }
  get headersDistinct(): Record<string, string[]> {
    const all = Object.create(null) as Record<string, string[]>;
    for (const [name, value] of Object.entries(this.headers)) all[name] = typeof value === "string" ? [value] : value;
    return all;
  }
  setTimeout(time: number, listener?: (...args: any[]) => void): this {
    if (listener) this.on("timeout", listener);
    this.socket.setTimeout(time);
    return this;
  }
  _read(): void {
    const reader = this.#reader;
    if (reader === undefined) return this.#end();
    reader.read().then(
      ({ done, value }) => {
        this.#active();
        if (done) this.#end();
        else this.push(Buffer.from(value.buffer, value.byteOffset, value.byteLength));
      },
      () => void this.destroy(reset("aborted")),
    );
  }
  #end(): void {
    this.complete = true;
    this.push(null);
  }
  _destroy(error: unknown, done: (error?: unknown) => void): void {
    if (!this.complete) {
      this.aborted = true;
      this.#reader?.cancel(error).catch(() => undefined);
      this.emit("aborted");
      error ??= reset("aborted");
    }
    // As in Node: an error that nobody listens for is none.
    ticks().add(done, this.listenerCount("error") > 0 ? [error] : []);
  }
}
