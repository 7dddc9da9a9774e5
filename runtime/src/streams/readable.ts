/**
 * The state of a readable stream and what is done to it from inside (Streams, section 4.9). User code holds a
 * `ReadableStream` (readable-stream.ts) that refers to one of these.
 */
import type { IncomingBody } from "./incoming.ts";
import type { Linked } from "./list.ts";
import { PromiseReject as rejected } from "../internal/primordials.ts";
import type { Outcome } from "./promises.ts";
import type { ByobReader, DefaultReader } from "./readers.ts";
import type { ReadableStream } from "./readable-stream.ts";

export const READABLE = 0;
export const CLOSED = 1;
export const ERRORED = 2;

/** Somebody waits for a chunk. Exactly one of the three is called, once for each read. */
export interface ReadRequest extends Linked<ReadRequest> {
  chunk(value: unknown): void;
  close(): void;
  error(error: unknown): void;
}

/** Somebody waits for a view to be filled. */
export interface ReadIntoRequest extends Linked<ReadIntoRequest> {
  chunk(view: ArrayBufferView): void;
  close(view: ArrayBufferView | undefined): void;
  error(error: unknown): void;
}

/** What both kinds of controllers do for the stream. */
export interface ReadableController {
  cancelSteps(reason: unknown): Outcome;
  pullSteps(request: ReadRequest): void;
  releaseSteps(): void;
  /** Whether chunks wait in its queue, or a pull is under way. */
  isBusy(): boolean;
}

/** A pipe that has not begun, since it might be done without JavaScript; see pipe.ts. */
export interface Sleeping {
  wake(): void;
}

export class Readable {
  state: typeof READABLE | typeof CLOSED | typeof ERRORED = READABLE;
  disturbed = false;
  reader: DefaultReader | ByobReader | undefined = undefined;
  stored: unknown = undefined;
  controller!: ReadableController;
  /** Gives this stream its chunks once it is woken. */
  feeder: Sleeping | undefined = undefined;
  /** How many bytes it will give, if that is known. */
  length: number | undefined = undefined;
  /** The host's body whose bytes these are. */
  body: IncomingBody | undefined = undefined;
  /** What user code sees, if it has seen it. */
  wrapper: ReadableStream | undefined = undefined;

  get locked(): boolean {
    return this.reader !== undefined;
  }
}

/** ReadableStreamClose. */
export function closeReadable(stream: Readable): void {
  stream.state = CLOSED;
  const reader = stream.reader;
  if (reader === undefined) return;
  reader.closed.resolve();
  if (reader.byob) return;
  const { requests } = reader;
  while (requests.length > 0) requests.shift().close();
}

/** ReadableStreamError. */
export function errorReadable(stream: Readable, error: unknown): void {
  stream.state = ERRORED;
  stream.stored = error;
  const reader = stream.reader;
  if (reader === undefined) return;
  reader.closed.reject(error);
  reader.failRequests(error);
}

/** ReadableStreamCancel. */
export function cancelReadable(stream: Readable, reason: unknown): Outcome {
  stream.feeder?.wake();
  stream.disturbed = true;
  if (stream.state === CLOSED) return undefined;
  if (stream.state === ERRORED) return rejected(stream.stored);
  closeReadable(stream);
  const reader = stream.reader;
  if (reader?.byob) {
    const { requests } = reader;
    while (requests.length > 0) requests.shift().close(undefined);
  }
  return stream.controller.cancelSteps(reason);
}
