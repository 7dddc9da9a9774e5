/** `HTMLRewriter`, as Workers has it. The host parses and rewrites; see `crates/isolate/src/html.rs`. */
import {
  ArrayPrototypePush,
  bytesOf,
  NativeUint8Array,
  RegExpPrototypeExec,
  ReflectApply,
  uncurryGetter,
} from "../internal/primordials.ts";
import { finishInterface, INTERNAL, requireArguments, toDictionary } from "../internal/webidl.ts";
import { isResponse, rawBodyOf, markUsed, Response } from "../fetch/response.ts";
import { isUnusable, alreadyUsed } from "../fetch/body.ts";
import { Headers } from "../fetch/headers.ts";
import { cancelQuietly, isReadableStream, openReader, ReadableStream, readChunk, type Reader } from "../streams/streams.ts";
import * as ops from "../host.ts";
import { Comment, Doctype, DocumentEnd, Element, EndTag, Text, type Token } from "../html/tokens.ts";

type Handler = (token: Token) => unknown;

/** Why the host stopped, in the lower four bits of what `htmlResume` returns. */
const HUNGRY = 0;
const DONE = 1;
const CONTENT = 8;
const TOKENS = [undefined, undefined, Element, EndTag, Comment, Text, Doctype, DocumentEnd] as const;

const bodyOf = uncurryGetter<ReadableStream<unknown> | null>(Response.prototype, "body");
const headersOf = uncurryGetter<Headers>(Response.prototype, "headers");
const { get: getHeader, delete: deleteHeader } = Headers.prototype;

/** One registered object: its selector (undefined for the document) and itself. */
interface Registered {
  selector: string | undefined;
  handlers: Record<string, unknown>;
}

/** Names of handler methods with the letter by which the host knows them. */
const ELEMENT_KINDS = [["element", "e"], ["comments", "c"], ["text", "t"]] as const;
const DOCUMENT_KINDS = [["doctype", "d"], ["comments", "C"], ["text", "T"], ["end", "E"]] as const;

export class HTMLRewriter {
  #registered: Registered[] = [];

  /** Calls the handlers' `element`, `comments` and `text` for what a CSS selector matches. */
  on(selector: string, handlers: object): this {
    requireArguments(arguments.length, 2, "HTMLRewriter.on");
    ArrayPrototypePush(this.#registered, { selector: `${selector}`, handlers: toDictionary(handlers, "Handlers") });
    return this;
  }

  /** Calls the handlers' `doctype`, `comments`, `text` and `end` for the whole document. */
  onDocument(handlers: object): this {
    requireArguments(arguments.length, 1, "HTMLRewriter.onDocument");
    ArrayPrototypePush(this.#registered, { selector: undefined, handlers: toDictionary(handlers, "Handlers") });
    return this;
  }

  /** A response with the rewritten document as its body; it is rewritten as it is read. */
  transform(response: Response): Response {
    if (!isResponse(response)) throw new TypeError("HTMLRewriter.transform takes a Response.");
    const raw = rawBodyOf(response);
    if (isUnusable(raw)) throw alreadyUsed();
    if (raw === null) return new Response(null, response);
    const type = ReflectApply(getHeader, headersOf(response), ["content-type"]) as string | null;
    const charset = type === null ? null : RegExpPrototypeExec(/;\s*charset\s*=\s*"?([^\s";]+)/i, type);
    const rewriting = new Rewriting(this.#registered, charset === null ? "utf-8" : charset[1]!);
    if (typeof raw === "string" || raw instanceof NativeUint8Array) {
      rewriting.rest = raw as string | Uint8Array<ArrayBuffer>;
      markUsed(response);
    } else {
      rewriting.reader = openReader(bodyOf(response)!);
    }
    const out = new Response(rewriting.stream(), response);
    ReflectApply(deleteHeader, headersOf(out), ["content-length"]);
    ReflectApply(deleteHeader, headersOf(out), ["content-encoding"]);
    return out;
  }
}
finishInterface(HTMLRewriter, "HTMLRewriter");

/** One document on its way through. */
export class Rewriting {
  readonly number: number;
  /** By the host's numbers; `onEndTag` adds more. */
  readonly #handlers: Handler[] = [];
  /** Content that handlers gave as streams, by number less one. */
  readonly #contents: (Reader | undefined)[] = [];
  reader: Reader | undefined;
  /** A document that is there as a whole, until it was written. */
  rest: string | Uint8Array<ArrayBuffer> | undefined;
  #started = false;
  /** Where the host stands, between two steps. */
  #pending = HUNGRY;

  constructor(registered: readonly Registered[], charset: string) {
    const selectors: string[] = [];
    let kinds = "";
    for (let i = 0; i < registered.length; i++) {
      const { selector, handlers } = registered[i]!;
      const possible = selector === undefined ? DOCUMENT_KINDS : ELEMENT_KINDS;
      for (let j = 0; j < possible.length; j++) {
        const [name, kind] = possible[j]!;
        const handler = handlers[name];
        if (handler === undefined) continue;
        if (typeof handler !== "function") throw new TypeError(`The handler ${name} is no function.`);
        ArrayPrototypePush(selectors, selector ?? "");
        kinds += kind;
        ArrayPrototypePush(this.#handlers, (token: Token) => ReflectApply(handler, handlers, [token]));
      }
    }
    this.number = ops.htmlNew(selectors, kinds, charset);
  }

  stream(): ReadableStream<unknown> {
    return new ReadableStream(
      {
        type: "bytes",
        pull: (controller) => this.#pull(controller as unknown as Controller),
        cancel: (reason) => this.#stop(reason),
      },
      { highWaterMark: 0 },
    ) as ReadableStream<unknown>;
  }

  /** Number of a handler that is called once, for an end tag. */
  addHandler(handler: Handler): number {
    ArrayPrototypePush(this.#handlers, handler);
    return this.#handlers.length - 1;
  }

  /** Number by which the host asks for content that comes in chunks. */
  addContent(content: unknown): number {
    const stream = isResponse(content) ? bodyOf(content) : content;
    if (stream !== null && !isReadableStream(stream)) return 0;
    ArrayPrototypePush(this.#contents, stream === null ? undefined : openReader(stream));
    return this.#contents.length;
  }

  /** Writes until there is output, or the end. */
  async #pull(controller: Controller): Promise<void> {
    try {
      for (;;) {
        const over = await this.#step();
        const output = ops.htmlOutput(this.number);
        if (output !== undefined) controller.enqueue(output);
        if (over) {
          ops.htmlEnd(this.number);
          controller.close();
          // A reader that brought its own buffer waits for this.
          controller.byobRequest?.respond(0);
          return;
        }
        if (output !== undefined) return;
      }
    } catch (error) {
      this.#stop(error);
      throw error;
    }
  }

  /** Puts one chunk of the document through. True at the end. */
  async #step(): Promise<boolean> {
    let stop = this.#pending;
    this.#pending = HUNGRY;
    if (stop === HUNGRY) stop = ops.htmlResume(this.number, await this.#input());
    while ((stop & 15) !== HUNGRY) {
      const kind = stop & 15;
      if (kind === DONE) return true;
      if (kind === CONTENT) {
        // What is written goes out before more is asked for: content may have no end.
        this.#pending = ops.htmlResume(this.number, await this.#content((stop >>> 4) - 1));
        return this.#pending === DONE;
      }
      const token = new TOKENS[kind]!(INTERNAL, this, ops.htmlSerial(this.number));
      const result = this.#handlers[stop >>> 4]!(token);
      // Most handlers return nothing; only the others are worth a turn of the microtask queue.
      if (typeof result === "object" && result !== null) await result;
      stop = ops.htmlResume(this.number, true);
    }
    return false;
  }

  /** The next chunk of the document, null at its end. */
  async #input(): Promise<string | Uint8Array | null> {
    let input: string | Uint8Array | null;
    if (this.reader !== undefined) {
      const { done, value } = await readChunk(this.reader);
      input = done ? null : chunkOf(value);
    } else {
      input = this.#started ? null : this.rest!;
      this.rest = undefined;
    }
    this.#started = true;
    return input;
  }

  async #content(index: number): Promise<Uint8Array | string | null> {
    const reader = this.#contents[index];
    if (reader === undefined) return null;
    const { done, value } = await readChunk(reader);
    return done ? null : chunkOf(value);
  }

  #stop(reason: unknown): void {
    ops.htmlEnd(this.number);
    if (this.reader !== undefined) cancelQuietly(this.reader, reason);
    for (let i = 0; i < this.#contents.length; i++) {
      const reader = this.#contents[i];
      if (reader !== undefined) cancelQuietly(reader, reason);
    }
  }
}

interface Controller {
  enqueue(chunk: Uint8Array): void;
  close(): void;
  byobRequest: { respond(bytes: number): void } | null;
}

function chunkOf(value: unknown): string | Uint8Array {
  if (typeof value === "string") return value;
  const bytes = bytesOf(value);
  if (bytes === undefined) throw new TypeError("HTMLRewriter takes bytes or text, but the stream gave something else.");
  return bytes;
}
