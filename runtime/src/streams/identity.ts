/** `IdentityTransformStream` and `FixedLengthStream`: byte streams that hand on what they are given (Workers). */
import { bytesOf, TypedArrayPrototypeGetByteLength } from "../internal/primordials.ts";
import { finishInterface, INTERNAL, requireArguments } from "../internal/webidl.ts";
import type { Outcome } from "./promises.ts";
import type { Readable } from "./readable.ts";
import { toSize } from "./source.ts";
import { DEFAULT_SIZES, handsOn, Transform, type Transformer, TransformStream } from "./transform.ts";

function lengthOf(chunk: unknown): number {
  const bytes = bytesOf(chunk);
  if (bytes === undefined) throw new TypeError("The stream takes bytes only: ArrayBuffers and views of them.");
  return TypedArrayPrototypeGetByteLength(bytes);
}

/** Passes bytes on. */
const BYTES: Transformer = {
  transform(chunk, transform) {
    lengthOf(chunk);
    transform.enqueue(bytesOf(chunk));
    return undefined;
  },
  flush: () => undefined,
  cancel: () => undefined,
};
handsOn(BYTES);

/** Passes bytes on, and counts them. */
class Counter implements Transformer {
  #left: number;

  constructor(length: number) {
    this.#left = length;
  }
  transform(chunk: unknown, transform: Transform): Outcome {
    this.#left -= lengthOf(chunk);
    if (this.#left < 0) throw new TypeError("More bytes were written than the FixedLengthStream was made for.");
    transform.enqueue(bytesOf(chunk));
    return undefined;
  }
  flush(): Outcome {
    if (this.#left === 0) return undefined;
    throw new TypeError("Fewer bytes were written than the FixedLengthStream was made for.");
  }
  cancel(): Outcome {
    return undefined;
  }
}

export class IdentityTransformStream extends TransformStream {
  constructor() {
    const transform = arguments[0] === INTERNAL ? (arguments[1] as Transform) : new Transform(BYTES, DEFAULT_SIZES);
    super(INTERNAL, transform);
    transform.start(undefined);
  }
}
finishInterface(IdentityTransformStream, "IdentityTransformStream");

export class FixedLengthStream extends IdentityTransformStream {
  constructor(expectedLength: number | bigint) {
    requireArguments(arguments.length, 1, "FixedLengthStream");
    const length = toSize(typeof expectedLength === "bigint" ? Number(expectedLength) : expectedLength, "The expected length");
    const transform = new Transform(new Counter(length), DEFAULT_SIZES);
    // @ts-expect-error Arguments that user code cannot give.
    super(INTERNAL, transform);
    transform.readable.stream.length = length;
  }
}
finishInterface(FixedLengthStream, "FixedLengthStream");

/** How many bytes the stream will give, if that was said. */
export function knownLength(stream: Readable): number | undefined {
  return stream.length;
}
