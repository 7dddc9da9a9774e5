/** Reads an event stream (HTML Standard, section 9.2.6), however it is cut into chunks. */
import {
  ArrayPrototypePush,
  ArrayPrototypeShift,
  concatBytes,
  RegExpPrototypeExec,
  StringPrototypeIncludes,
  StringPrototypeIndexOf,
  StringPrototypeSlice,
  TypedArrayPrototypeSlice,
  TypedArrayPrototypeSubarray,
} from "../internal/primordials.ts";
import { DOMException } from "../dom/exception.ts";
import * as ops from "../host.ts";

export interface ServerEvent {
  type: string;
  data: string;
  lastEventId: string;
}

/** Longest line, bytes, and longest data of an event, characters: memory for what never ends. */
const LINE_MAX = 16 << 20;
const DATA_MAX = 32 << 20;
const LF = 10;
const CR = 13;
const DIGITS = /^[0-9]+$/;

export class EventStreamParser {
  /** Bytes of a line whose end has not arrived. */
  #rest: Uint8Array<ArrayBuffer>[] = [];
  #restLength = 0;
  #first = true;
  /** The last line ended with CR; an LF belongs to it. */
  #afterReturn = false;
  #events: ServerEvent[] = [];
  #type = "";
  #data: string | undefined;
  #id: string;
  /** The id of the last event that was complete. */
  lastEventId: string;
  /** Milliseconds, once the server has said so. */
  retry: number | undefined;

  constructor(lastEventId: string) {
    this.#id = lastEventId;
    this.lastEventId = lastEventId;
  }

  /** The next complete event. */
  take(): ServerEvent | undefined {
    return ArrayPrototypeShift(this.#events) as ServerEvent | undefined;
  }

  push(chunk: Uint8Array<ArrayBuffer>): void {
    let start = 0;
    const { length } = chunk;
    for (let i = 0; i < length; i++) {
      const byte = chunk[i];
      if (byte !== LF && byte !== CR) {
        this.#afterReturn = false;
        continue;
      }
      if (byte === LF && this.#afterReturn) {
        this.#afterReturn = false;
        start = i + 1;
        continue;
      }
      this.#line(TypedArrayPrototypeSubarray(chunk, start, i));
      this.#afterReturn = byte === CR;
      start = i + 1;
    }
    if (start === length) return;
    this.#restLength += length - start;
    if (this.#restLength > LINE_MAX) throw new DOMException("A line of the event stream is too long.", "DataError");
    ArrayPrototypePush(this.#rest, TypedArrayPrototypeSlice(chunk, start));
  }

  #line(end: Uint8Array<ArrayBuffer>): void {
    let bytes = end;
    if (this.#rest.length > 0) {
      ArrayPrototypePush(this.#rest, end);
      bytes = concatBytes(this.#rest);
      this.#rest = [];
      this.#restLength = 0;
    }
    // Only the stream's own beginning can have a byte order mark.
    const line = ops.decodeUtf8(bytes, false, !this.#first);
    this.#first = false;
    if (line === "") {
      this.#dispatch();
      return;
    }
    const colon = StringPrototypeIndexOf(line, ":");
    if (colon === 0) return;
    const name = colon < 0 ? line : StringPrototypeSlice(line, 0, colon);
    let value = colon < 0 ? "" : StringPrototypeSlice(line, colon + 1);
    if (value !== "" && value[0] === " ") value = StringPrototypeSlice(value, 1);
    if (name === "data") {
      this.#data = this.#data === undefined ? value : `${this.#data}\n${value}`;
      if (this.#data.length > DATA_MAX) throw new DOMException("An event of the event stream is too long.", "DataError");
    } else if (name === "event") {
      this.#type = value;
    } else if (name === "id") {
      if (!StringPrototypeIncludes(value, "\0")) this.#id = value;
    } else if (name === "retry") {
      if (RegExpPrototypeExec(DIGITS, value) !== null) this.retry = Number(value);
    }
  }

  #dispatch(): void {
    this.lastEventId = this.#id;
    const data = this.#data;
    const type = this.#type;
    this.#data = undefined;
    this.#type = "";
    if (data !== undefined) {
      ArrayPrototypePush(this.#events, { type: type === "" ? "message" : type, data, lastEventId: this.#id });
    }
  }
}
