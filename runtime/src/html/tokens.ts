/** What handlers of an `HTMLRewriter` are called with. A token can be used while its handler runs. */
import { IteratorPrototype, ObjectCreate } from "../internal/primordials.ts";
import { finishInterface, illegalConstructor, requireArguments } from "../internal/webidl.ts";
import * as ops from "../host.ts";
import type { Rewriting } from "../parts/html-rewriter.ts";

export type Token = Base;

interface ContentOptions {
  html?: boolean;
}

let call: (token: Base, operation: string, a?: unknown, b?: unknown) => unknown;
let put: (token: Base, operation: string, given: number, content: unknown, options: unknown) => void;
let onEndTag: (token: Base, handler: Function) => void;

const isHtml = (options: unknown) =>
  options !== undefined && options !== null && Boolean((options as ContentOptions).html);

/** What all tokens share: their place in the host. */
class Base {
  readonly #rewriting: Rewriting;
  readonly #serial: number;

  constructor(token: unknown, rewriting: Rewriting, serial: number) {
    illegalConstructor(token);
    this.#rewriting = rewriting;
    this.#serial = serial;
  }

  static {
    call = (token, operation, a, b) => ops.htmlToken(token.#rewriting.number, token.#serial, operation, a, b);
    put = (token, operation, given, content, options) => {
      requireArguments(given, 1, operation);
      if (typeof content === "object" && content !== null) {
        // The token is asked first: a stale one does not lock the stream.
        call(token, "removed");
        const number = token.#rewriting.addContent(content);
        if (number > 0) {
          call(token, operation, number, isHtml(options));
          return;
        }
      }
      call(token, operation, `${content as string}`, isHtml(options));
    };
    onEndTag = (token, handler) => {
      call(token, "onEndTag", token.#rewriting.addHandler((tag) => handler(tag)));
    };
  }
}

export class Element extends Base {
  get tagName(): string {
    return call(this, "tagName") as string;
  }
  set tagName(name: string) {
    call(this, "setTagName", `${name}`);
  }
  get namespaceURI(): string {
    return call(this, "namespaceURI") as string;
  }
  get removed(): boolean {
    return call(this, "removed") as boolean;
  }
  /** Iterates over `[name, value]`. */
  get attributes(): object {
    const list = call(this, "attributes") as string[];
    const iterator = ObjectCreate(IteratorPrototype) as { next(): IteratorResult<[string, string]> };
    let at = 0;
    iterator.next = () => {
      if (at >= list.length) return { value: undefined, done: true };
      at += 2;
      return { value: [list[at - 2]!, list[at - 1]!], done: false };
    };
    return iterator;
  }
  getAttribute(name: string): string | null {
    requireArguments(arguments.length, 1, "getAttribute");
    return call(this, "getAttribute", `${name}`) as string | null;
  }
  hasAttribute(name: string): boolean {
    requireArguments(arguments.length, 1, "hasAttribute");
    return call(this, "hasAttribute", `${name}`) as boolean;
  }
  setAttribute(name: string, value: string): this {
    requireArguments(arguments.length, 2, "setAttribute");
    call(this, "setAttribute", `${name}`, `${value}`);
    return this;
  }
  removeAttribute(name: string): this {
    requireArguments(arguments.length, 1, "removeAttribute");
    call(this, "removeAttribute", `${name}`);
    return this;
  }
  before(content: unknown, options?: ContentOptions): this {
    put(this, "before", arguments.length, content, options);
    return this;
  }
  after(content: unknown, options?: ContentOptions): this {
    put(this, "after", arguments.length, content, options);
    return this;
  }
  prepend(content: unknown, options?: ContentOptions): this {
    put(this, "prepend", arguments.length, content, options);
    return this;
  }
  append(content: unknown, options?: ContentOptions): this {
    put(this, "append", arguments.length, content, options);
    return this;
  }
  replace(content: unknown, options?: ContentOptions): this {
    put(this, "replace", arguments.length, content, options);
    return this;
  }
  setInnerContent(content: unknown, options?: ContentOptions): this {
    put(this, "setInnerContent", arguments.length, content, options);
    return this;
  }
  remove(): this {
    call(this, "remove");
    return this;
  }
  removeAndKeepContent(): this {
    call(this, "removeAndKeepContent");
    return this;
  }
  /** Calls the handler with the element's end tag; an element that cannot have one is an error. */
  onEndTag(handler: Function): void {
    requireArguments(arguments.length, 1, "onEndTag");
    if (typeof handler !== "function") throw new TypeError("onEndTag takes a function.");
    onEndTag(this, handler);
  }
}
finishInterface(Element, "Element");

export class EndTag extends Base {
  get name(): string {
    return call(this, "tagName") as string;
  }
  set name(name: string) {
    call(this, "setTagName", `${name}`);
  }
  get removed(): boolean {
    return call(this, "removed") as boolean;
  }
  before(content: unknown, options?: ContentOptions): this {
    put(this, "before", arguments.length, content, options);
    return this;
  }
  after(content: unknown, options?: ContentOptions): this {
    put(this, "after", arguments.length, content, options);
    return this;
  }
  replace(content: unknown, options?: ContentOptions): this {
    put(this, "replace", arguments.length, content, options);
    return this;
  }
  remove(): this {
    call(this, "remove");
    return this;
  }
}
finishInterface(EndTag, "EndTag");

/** What comments and text share; the members are put on both prototypes. */
class Characters extends Base {
  get removed(): boolean {
    return call(this, "removed") as boolean;
  }
  before(content: unknown, options?: ContentOptions): this {
    put(this, "before", arguments.length, content, options);
    return this;
  }
  after(content: unknown, options?: ContentOptions): this {
    put(this, "after", arguments.length, content, options);
    return this;
  }
  replace(content: unknown, options?: ContentOptions): this {
    put(this, "replace", arguments.length, content, options);
    return this;
  }
  remove(): this {
    call(this, "remove");
    return this;
  }
}

export class Comment extends Characters {
  get text(): string {
    return call(this, "text") as string;
  }
  set text(text: string) {
    call(this, "setText", `${text}`);
  }
}
finishInterface(Comment, "Comment");

export class Text extends Characters {
  get text(): string {
    return call(this, "text") as string;
  }
  get lastInTextNode(): boolean {
    return call(this, "lastInTextNode") as boolean;
  }
}
finishInterface(Text, "Text");

export class Doctype extends Base {
  get name(): string | null {
    return call(this, "name") as string | null;
  }
  get publicId(): string | null {
    return call(this, "publicId") as string | null;
  }
  get systemId(): string | null {
    return call(this, "systemId") as string | null;
  }
}
finishInterface(Doctype, "Doctype");

export class DocumentEnd extends Base {
  append(content: unknown, options?: ContentOptions): this {
    requireArguments(arguments.length, 1, "append");
    call(this, "append", `${content as string}`, isHtml(options));
    return this;
  }
}
finishInterface(DocumentEnd, "DocumentEnd");
