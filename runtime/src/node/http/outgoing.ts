/** `OutgoingMessage`: a stream with header fields that are set before they are sent. */
import { Writable } from "node:stream";
import { coded, wrongType } from "../../internal/node-errors.ts";

export type FieldValue = string | number | readonly string[];

/** RFC 9110, section 5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

export const isToken = (text: string): boolean => TOKEN.test(text);

export function checkFieldName(name: unknown): asserts name is string {
  if (typeof name === "string" && isToken(name)) return;
  throw coded(new TypeError(`Header name must be a valid HTTP token ["${String(name)}"]`), "ERR_INVALID_HTTP_TOKEN");
}

export function checkFieldValue(name: string, value: unknown): void {
  if (value === undefined) throw coded(new TypeError(`Invalid value "undefined" for header "${name}"`), "ERR_HTTP_INVALID_HEADER_VALUE");
  if (/[^\t\x20-\x7e\x80-\xff]/.test(String(value))) throw coded(new TypeError(`Invalid character in header content ["${name}"]`), "ERR_INVALID_CHAR");
}

function keyOf(name: unknown): string {
  if (typeof name !== "string") throw wrongType("name", "of type string", name);
  return name.toLowerCase();
}

export class OutgoingMessage extends (Writable as new (options?: object) => any) {
  headersSent = false;
  sendDate = false;
  /** By names in lower case: the name as it was given, and the value. */
  readonly #fields = new Map<string, readonly [string, FieldValue]>();

  get finished(): boolean {
    return this.writableEnded;
  }
  setHeader(name: string, value: FieldValue): this {
    if (this.headersSent) throw this.#late("set");
    checkFieldName(name);
    if (Array.isArray(value)) for (const one of value) checkFieldValue(name, one);
    else checkFieldValue(name, value);
    this.#fields.set(keyOf(name), [name, Array.isArray(value) ? [...value] : value]);
    return this;
  }
  appendHeader(name: string, value: FieldValue): this {
    const before = this.getHeader(name);
    if (before === undefined) return this.setHeader(name, value);
    return this.setHeader(name, [before, value].flat().map(String));
  }
  setHeaders(headers: Iterable<readonly [string, FieldValue]>): this {
    for (const [name, value] of headers) this.appendHeader(name, value);
    return this;
  }
  getHeader(name: string): FieldValue | undefined {
    return this.#fields.get(keyOf(name))?.[1];
  }
  hasHeader(name: string): boolean {
    return this.#fields.has(keyOf(name));
  }
  removeHeader(name: string): void {
    const key = keyOf(name);
    if (this.headersSent) throw this.#late("remove");
    this.#fields.delete(key);
  }
  getHeaders(): Record<string, FieldValue> {
    const all = Object.create(null) as Record<string, FieldValue>;
    this.#fields.forEach(([, value], name) => void (all[name] = value));
    return all;
  }
  getHeaderNames(): string[] {
    return [...this.#fields.keys()];
  }
  getRawHeaderNames(): string[] {
    return [...this.#fields.values()].map(([name]) => name);
  }
  addTrailers(): void {}
  #late(what: string): Error {
    return coded(new Error(`Cannot ${what} headers after they are sent to the client`), "ERR_HTTP_HEADERS_SENT");
  }
}
