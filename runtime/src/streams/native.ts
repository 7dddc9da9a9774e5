/**
 * Streams whose bytes need not pass through JavaScript: a body of the host's, as it is or behind identity transforms.
 */
import { ArrayPrototypePush } from "../internal/primordials.ts";
import type { Encoding } from "../fetch/encoding.ts";
import type { IncomingBody } from "./incoming.ts";
import { Pipe } from "./pipe.ts";
import type { KnownPipeOptions } from "./pipe.ts";
import { closeReadable, errorReadable, READABLE, type Readable } from "./readable.ts";
import { DefaultReader } from "./readers.ts";
import { Transform } from "./transform.ts";
import { CLOSED, ERRORED, type Writable } from "./writable.ts";

/** Whether a pipe between these may wait for who reads from the transform; then it is the transform's feeder. */
export function canSleep(source: Readable, target: Writable, options: KnownPipeOptions): Transform | undefined {
  if (options.preventAbort || options.preventCancel || options.preventClose) return undefined;
  if (source.state !== READABLE || !target.isOpen) return undefined;
  if (source.body === undefined ? !isFed(source) : source.controller.isBusy()) return undefined;
  const { sink } = target.controller;
  return sink instanceof Transform && sink.isUntouchedIdentity && sink.readable.stream.reader === undefined ? sink : undefined;
}

function isFed(stream: Readable): boolean {
  return stream.feeder instanceof Pipe && stream.feeder.isAsleep;
}

/** A host's body taken out from under a stream, which stays locked. */
export class Taken {
  readonly #stream: Readable;
  readonly #pipes: readonly Pipe[];

  constructor(
    readonly body: IncomingBody,
    stream: Readable,
    pipes: readonly Pipe[],
  ) {
    this.#stream = stream;
    this.#pipes = pipes;
    for (let i = 0; i < pipes.length; i++) pipes[i]!.surrender();
    stream.disturbed = true;
    new DefaultReader(stream);
  }

  /** All bytes went where they should. */
  finished(): void {
    this.#each(
      (readable) => closeReadable(readable),
      (writable) => {
        writable.state = CLOSED;
        writable.writer?.closed.resolve();
      },
      undefined,
    );
  }

  /** The source broke off. */
  failed(error: unknown): void {
    this.#each(
      (readable) => errorReadable(readable, error),
      (writable) => breakWritable(writable, error),
      { error },
    );
  }

  /** Nobody wants the bytes any more. */
  canceled(error: unknown): void {
    this.#each(
      (readable) => closeReadable(readable),
      (writable) => breakWritable(writable, error),
      { error },
    );
  }

  #each(read: (readable: Readable) => void, write: (writable: Writable) => void, failure: { error: unknown } | undefined): void {
    const pipes = this.#pipes;
    for (let i = pipes.length - 1; i >= 0; i--) {
      const { source, target } = pipes[i]!;
      if (source.state === READABLE) read(source);
      if (target.isOpen) write(target);
      pipes[i]!.surrendered(failure);
    }
    if (this.#stream.state === READABLE) read(this.#stream);
  }
}

function breakWritable(writable: Writable, error: unknown): void {
  writable.state = ERRORED;
  writable.stored = error;
  writable.writer?.ready.rejectAnew(error);
  writable.writer?.closed.reject(error);
}

/** The host's body behind a stream, for which `takeBody` would go; undefined where there is none. */
export function findBody(stream: Readable): IncomingBody | undefined {
  let at = stream;
  while (at.body === undefined) {
    if (at.state !== READABLE || !(at.feeder instanceof Pipe) || !at.feeder.isAsleep) return undefined;
    at = at.feeder.source;
  }
  return at.state === READABLE && !at.controller.isBusy() ? at.body : undefined;
}

/**
 * Takes the host's body out of an unlocked stream, to move it to where `encoding` is expected; undefined where there is none,
 * or JavaScript has a part in it.
 */
export function takeBody(stream: Readable, encoding: Encoding | undefined): Taken | undefined {
  const pipes: Pipe[] = [];
  let at = stream;
  while (at.body === undefined) {
    const { feeder } = at;
    if (at.state !== READABLE || !(feeder instanceof Pipe) || !feeder.isAsleep) return undefined;
    ArrayPrototypePush(pipes, feeder);
    at = feeder.source;
  }
  if (at.state !== READABLE || at.controller.isBusy() || stream.reader !== undefined) return undefined;
  if (!at.body.canMove(encoding)) return undefined;
  return new Taken(at.body, stream, pipes);
}
