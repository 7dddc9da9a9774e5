/** Streams between workers: each chunk is a call, so that the reader's pace is the writer's. */
import { uncurryGetter, uncurryThis } from "../internal/primordials.ts";
import { RpcTarget } from "../worker/entrypoint.ts";
import { cancelQuietly, openReader, ReadableStream, type Reader, readChunk, WritableStream } from "../streams/streams.ts";
import type { Base } from "./stub.ts";

type Writer = ReturnType<WritableStream<unknown>["getWriter"]>;

const getLocked = uncurryGetter<boolean>(WritableStream.prototype, "locked");
const getWriter = uncurryThis(WritableStream.prototype.getWriter);

/** Chunks that are fetched before they are wanted. */
const AHEAD = 2;

export function isWritableStream(value: unknown): value is WritableStream<unknown> {
  try {
    getLocked(value);
    return true;
  } catch {
    return false;
  }
}

/** What the other side reads a stream with. */
class Source extends RpcTarget {
  #reader: Reader;
  #over = false;

  constructor(stream: ReadableStream<unknown>) {
    super();
    this.#reader = openReader(stream);
  }

  async read(): Promise<unknown[]> {
    const { done, value } = await readChunk(this.#reader);
    if (done) this.#over = true;
    return done ? [] : [value];
  }

  cancel(reason: unknown): void {
    this.#over = true;
    cancelQuietly(this.#reader, reason);
  }

  [Symbol.dispose](): void {
    if (!this.#over) this.cancel(new TypeError("The other worker does not read the stream any more."));
  }
}

/** What the other side writes a stream with. */
class Sink extends RpcTarget {
  #writer: Writer;
  #over = false;

  constructor(stream: WritableStream<unknown>) {
    super();
    this.#writer = getWriter(stream) as Writer;
  }

  async write(chunk: unknown): Promise<void> {
    await write(this.#writer, chunk);
  }

  async close(): Promise<void> {
    this.#over = true;
    await close(this.#writer);
  }

  async abort(reason: unknown): Promise<void> {
    this.#over = true;
    await abort(this.#writer, reason);
  }

  [Symbol.dispose](): void {
    if (this.#over) return;
    this.#over = true;
    void ignore(abort(this.#writer, new TypeError("The other worker does not write the stream any more.")));
  }
}

async function ignore(promise: Promise<unknown>): Promise<void> {
  try {
    await promise;
  } catch {
    // Nobody is left to be told.
  }
}

const WriterClass = getWriter(new WritableStream()).constructor as { prototype: Writer };
const write = uncurryThis(WriterClass.prototype.write) as (writer: object, chunk: unknown) => Promise<void>;
const close = uncurryThis(WriterClass.prototype.close) as (writer: object) => Promise<void>;
const abort = uncurryThis(WriterClass.prototype.abort) as (writer: object, reason: unknown) => Promise<void>;

export function sourceOf(stream: ReadableStream<unknown>): RpcTarget {
  return new Source(stream);
}

export function sinkOf(stream: WritableStream<unknown>): RpcTarget {
  return new Sink(stream);
}

/** A stream of what the other side reads for us. */
export function readableFrom(base: Base): ReadableStream<unknown> {
  return new ReadableStream<unknown>(
    {
      async pull(controller) {
        try {
          const chunk = (await base.send(["read"], []).promise) as unknown[];
          if (chunk.length > 0) return controller.enqueue(chunk[0]);
          controller.close();
        } catch (error) {
          controller.error(error);
        }
        base.dispose();
      },
      async cancel(reason) {
        await base.send(["cancel"], [reason instanceof Error ? reason.message : undefined]).promise;
        base.dispose();
      },
    },
    { highWaterMark: AHEAD },
  ) as ReadableStream<unknown>;
}

/** A stream to what the other side writes for us. */
export function writableTo(base: Base): WritableStream<unknown> {
  const finish = async (name: string, args: unknown[]) => {
    try {
      await base.send([name], args).promise;
    } finally {
      base.dispose();
    }
  };
  return new WritableStream<unknown>({
    write: async (chunk) => void (await base.send(["write"], [chunk]).promise),
    close: () => finish("close", []),
    abort: (reason) => finish("abort", [reason instanceof Error ? reason.message : undefined]),
  }) as WritableStream<unknown>;
}
