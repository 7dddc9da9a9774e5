/** The controller of a readable byte stream (Streams, sections 4.7, 4.8 and 4.11). */
import {
  ArrayBufferPrototypeSlice,
  ArrayPrototypePush,
  MathMin,
  NativeUint8Array,
} from "../internal/primordials.ts";
import { type ReadableStreamBYOBRequest, newByobRequest, voidByobRequest } from "./byob-request.ts";
import { List } from "./list.ts";
import { type Outcome, type Result, upon } from "./promises.ts";
import {
  CLOSED,
  closeReadable,
  ERRORED,
  errorReadable,
  READABLE,
  type Readable,
  type ReadableController,
  type ReadIntoRequest,
  type ReadRequest,
} from "./readable.ts";
import { SILENT, type Source } from "./source.ts";
import { bufferLength, copyBytes, isDetached, transfer, type View } from "./views.ts";

/** Bytes in the queue. */
class Bytes {
  next: Bytes | undefined = undefined;
  constructor(
    readonly buffer: ArrayBuffer,
    public offset: number,
    public length: number,
  ) {}
}

const FOR_DEFAULT = 0;
const FOR_BYOB = 1;
const FOR_NOBODY = 2;

/** A buffer that waits to be filled. */
class PullInto {
  next: PullInto | undefined = undefined;
  filled = 0;
  readonly bufferLength: number;
  constructor(
    public buffer: ArrayBuffer,
    readonly view: View,
    readonly minimum: number,
    public readerType: typeof FOR_DEFAULT | typeof FOR_BYOB | typeof FOR_NOBODY,
  ) {
    this.bufferLength = bufferLength(buffer);
  }
}

export class ByteController implements ReadableController {
  readonly stream: Readable;
  readonly #queue = new List<Bytes>();
  #total = 0;
  readonly #waiting = new List<PullInto>();
  readonly #autoAllocate: number | undefined;
  #source: Source;
  readonly #mark: number;
  #started = false;
  #closing = false;
  #pulling = false;
  #pullAgain = false;
  #byobRequest: ReadableStreamBYOBRequest | null = null;
  #done: (() => void) | undefined = undefined;
  #failed: ((error: unknown) => void) | undefined = undefined;

  /** SetUpReadableByteStreamController, up to the source's start. */
  constructor(stream: Readable, source: Source, mark: number, autoAllocate: number | undefined) {
    this.stream = stream;
    this.#source = source;
    this.#mark = mark;
    this.#autoAllocate = autoAllocate;
    stream.controller = this;
  }

  start(result: Result): void {
    upon(
      result,
      () => this.started(),
      (error) => this.error(error),
    );
  }

  started(): void {
    this.#started = true;
    this.#callPull();
  }

  get isClosing(): boolean {
    return this.#closing;
  }

  desiredSize(): number | null {
    const { state } = this.stream;
    if (state === READABLE) return this.#mark - this.#total;
    return state === ERRORED ? null : 0;
  }

  isBusy(): boolean {
    return this.#queue.length > 0 || this.#pulling || this.#closing || this.#waiting.length > 0;
  }

  #wantsMore(): boolean {
    if (this.stream.state !== READABLE || this.#closing || !this.#started) return false;
    const { reader } = this.stream;
    if (reader !== undefined && reader.requests.length > 0) return true;
    return this.#mark - this.#total > 0;
  }

  #callPull(): void {
    if (!this.#wantsMore()) return;
    if (this.#pulling) {
      this.#pullAgain = true;
      return;
    }
    this.#pulling = true;
    const result = this.#source.pull();
    if (this.#done === undefined) {
      this.#done = () => this.pulled();
      this.#failed = (error) => this.error(error);
    }
    upon(result, this.#done, this.#failed!);
  }

  /** The source has done what `pull` asked of it. */
  pulled(): void {
    this.#pulling = false;
    if (!this.#pullAgain) return;
    this.#pullAgain = false;
    this.#callPull();
  }

  close(): void {
    if (this.#closing || this.stream.state !== READABLE) return;
    if (this.#total > 0) {
      this.#closing = true;
      return;
    }
    const first = this.#waiting.head;
    if (first !== undefined && first.filled % first.view.elementSize !== 0) {
      const error = new TypeError("The stream was closed in the midst of an element of the view that was to be filled.");
      this.error(error);
      throw error;
    }
    this.#forget();
    closeReadable(this.stream);
  }

  /** ReadableByteStreamControllerEnqueue: takes the chunk's buffer away. */
  enqueue(chunk: View): void {
    if (this.#closing || this.stream.state !== READABLE) return;
    const { buffer, byteOffset, byteLength } = chunk;
    this.enqueueOwned(transfer(buffer), byteOffset, byteLength);
  }

  /** The same with a buffer that nobody else has. */
  enqueueOwned(buffer: ArrayBuffer, byteOffset: number, byteLength: number): void {
    if (this.#closing || this.stream.state !== READABLE) return;
    const first = this.#waiting.head;
    if (first !== undefined) {
      if (isDetached(first.buffer)) throw new TypeError("The buffer of the BYOB request is detached.");
      this.#voidRequest();
      first.buffer = transfer(first.buffer);
      if (first.readerType === FOR_NOBODY) this.#enqueueAbandoned(first);
    }
    const { reader } = this.stream;
    if (reader === undefined) {
      this.#push(buffer, byteOffset, byteLength);
    } else if (reader.byob) {
      this.#push(buffer, byteOffset, byteLength);
      this.#commitAll(this.#fillWaiting());
    } else {
      this.#serveRequests();
      const { requests } = reader;
      if (requests.length === 0) {
        this.#push(buffer, byteOffset, byteLength);
      } else {
        if (this.#waiting.length > 0) this.#waiting.shift();
        requests.shift().chunk(new NativeUint8Array(buffer, byteOffset, byteLength));
      }
    }
    this.#callPull();
  }

  #push(buffer: ArrayBuffer, offset: number, length: number): void {
    this.#queue.push(new Bytes(buffer, offset, length));
    this.#total += length;
  }

  /** EnqueueClonedChunkToQueue. */
  #pushCopy(buffer: ArrayBuffer, offset: number, length: number): void {
    let copy: ArrayBuffer;
    try {
      copy = ArrayBufferPrototypeSlice(buffer, offset, offset + length);
    } catch (error) {
      this.error(error);
      throw error;
    }
    this.#push(copy, 0, length);
  }

  /** EnqueueDetachedPullIntoToQueue: its reader is gone, but what it has been given is not lost. */
  #enqueueAbandoned(abandoned: PullInto): void {
    if (abandoned.filled > 0) this.#pushCopy(abandoned.buffer, abandoned.view.byteOffset, abandoned.filled);
    this.#waiting.shift();
  }

  error(error: unknown): void {
    if (this.stream.state !== READABLE) return;
    this.#voidRequest();
    this.#waiting.clear();
    this.#reset();
    this.#forget();
    errorReadable(this.stream, error);
  }

  #reset(): void {
    this.#queue.clear();
    this.#total = 0;
  }

  #forget(): void {
    this.#source = SILENT;
  }

  #voidRequest(): void {
    if (this.#byobRequest === null) return;
    voidByobRequest(this.#byobRequest);
    this.#byobRequest = null;
  }

  get byobRequest(): ReadableStreamBYOBRequest | null {
    const first = this.#waiting.head;
    if (this.#byobRequest === null && first !== undefined) {
      const { byteOffset, byteLength } = first.view;
      const view = new NativeUint8Array(first.buffer, byteOffset + first.filled, byteLength - first.filled);
      this.#byobRequest = newByobRequest(this, view);
    }
    return this.#byobRequest;
  }

  /** Whether a view waits for bytes; a native source fills such views. */
  get hasWaitingView(): boolean {
    return this.#waiting.length > 0;
  }

  /** ConvertPullIntoDescriptor. */
  #viewOf(filled: PullInto): ArrayBufferView {
    const { make, byteOffset, elementSize } = filled.view;
    return new make(transfer(filled.buffer), byteOffset, filled.filled / elementSize);
  }

  /** CommitPullIntoDescriptor. */
  #commit(filled: PullInto): void {
    const done = this.stream.state === CLOSED;
    const view = this.#viewOf(filled);
    const reader = this.stream.reader!;
    if (reader.byob) {
      const request = reader.requests.shift();
      if (done) request.close(view);
      else request.chunk(view);
    } else {
      const request = reader.requests.shift();
      if (done) request.close();
      else request.chunk(view);
    }
  }

  #commitAll(filled: readonly PullInto[] | undefined): void {
    for (let i = 0; filled !== undefined && i < filled.length; i++) this.#commit(filled[i]!);
  }

  /** ProcessPullIntoDescriptorsUsingQueue: the ones that are ready, taken out. */
  #fillWaiting(): PullInto[] | undefined {
    let filled: PullInto[] | undefined;
    while (this.#waiting.head !== undefined && this.#total > 0) {
      if (!this.#fill(this.#waiting.head)) continue;
      ArrayPrototypePush((filled ??= []), this.#waiting.shift());
    }
    return filled;
  }

  /** ProcessReadRequestsUsingQueue. */
  #serveRequests(): void {
    const { requests } = this.stream.reader as { requests: List<ReadRequest> };
    while (requests.length > 0 && this.#total > 0) this.#serve(requests.shift());
  }

  /** FillReadRequestFromQueue. */
  #serve(request: ReadRequest): void {
    const { buffer, offset, length } = this.#queue.shift();
    this.#total -= length;
    this.#drained();
    request.chunk(new NativeUint8Array(buffer, offset, length));
  }

  /** HandleQueueDrain. */
  #drained(): void {
    if (this.#total === 0 && this.#closing) {
      this.#forget();
      closeReadable(this.stream);
    } else {
      this.#callPull();
    }
  }

  /** FillPullIntoDescriptorFromQueue: whether it is filled enough. */
  #fill(into: PullInto): boolean {
    const { elementSize, byteLength, byteOffset } = into.view;
    let left = MathMin(this.#total, byteLength - into.filled);
    const end = into.filled + left;
    const aligned = end - (end % elementSize);
    const ready = aligned >= into.minimum;
    if (ready) left = aligned - into.filled;
    while (left > 0) {
      const head = this.#queue.head!;
      const count = MathMin(left, head.length);
      copyBytes(head.buffer, head.offset, into.buffer, byteOffset + into.filled, count);
      if (head.length === count) {
        this.#queue.shift();
      } else {
        head.offset += count;
        head.length -= count;
      }
      this.#total -= count;
      into.filled += count;
      left -= count;
    }
    return ready;
  }

  /** ReadableByteStreamControllerPullInto. */
  pullInto(view: View, min: number, request: ReadIntoRequest): void {
    let into: PullInto;
    try {
      into = new PullInto(transfer(view.buffer), view, min * view.elementSize, FOR_BYOB);
    } catch (error) {
      request.error(error);
      return;
    }
    const { requests } = this.stream.reader as { requests: List<ReadIntoRequest> };
    if (this.#waiting.length > 0) {
      this.#waiting.push(into);
      requests.push(request);
      return;
    }
    if (this.stream.state === CLOSED) {
      request.close(new view.make(into.buffer, view.byteOffset, 0));
      return;
    }
    if (this.#total > 0) {
      if (this.#fill(into)) {
        const filled = this.#viewOf(into);
        this.#drained();
        request.chunk(filled);
        return;
      }
      if (this.#closing) {
        const error = new TypeError("The stream ends in the midst of what was to be read.");
        this.error(error);
        request.error(error);
        return;
      }
    }
    this.#waiting.push(into);
    requests.push(request);
    this.#callPull();
  }

  /** ReadableByteStreamControllerRespond. */
  respond(count: number): void {
    const first = this.#waiting.head!;
    this.#checkCount(count, first);
    first.buffer = transfer(first.buffer);
    this.#responded(count);
  }

  /** ReadableByteStreamControllerRespondWithNewView. */
  respondWithNewView(view: View): void {
    const first = this.#waiting.head!;
    const { byteOffset, byteLength } = first.view;
    if (this.stream.state === CLOSED) {
      if (view.byteLength !== 0) throw new TypeError("The stream is closed: the view must be empty.");
    } else if (view.byteLength === 0) {
      throw new TypeError("The view is empty.");
    }
    if (byteOffset + first.filled !== view.byteOffset) {
      throw new RangeError("The view does not begin where the BYOB request's view begins.");
    }
    if (first.bufferLength !== bufferLength(view.buffer)) {
      throw new RangeError("The view's buffer has not the length of the BYOB request's buffer.");
    }
    if (first.filled + view.byteLength > byteLength) throw new RangeError("The view is larger than the BYOB request's view.");
    const count = view.byteLength;
    first.buffer = transfer(view.buffer);
    this.#responded(count);
  }

  #checkCount(count: number, first: PullInto): void {
    if (this.stream.state === CLOSED) {
      if (count !== 0) throw new TypeError("The stream is closed: only 0 bytes can be responded.");
    } else {
      if (count === 0) throw new TypeError("At least one byte must be responded; close the stream at its end.");
      if (first.filled + count > first.view.byteLength) throw new RangeError("More bytes than the view has room for.");
    }
  }

  /** RespondInternal. */
  #responded(count: number): void {
    const first = this.#waiting.head!;
    this.#voidRequest();
    if (this.stream.state === CLOSED) this.#respondClosed(first);
    else this.#respondReadable(count, first);
    this.#callPull();
  }

  #respondClosed(first: PullInto): void {
    if (first.readerType === FOR_NOBODY) this.#waiting.shift();
    const { reader } = this.stream;
    if (reader === undefined || !reader.byob) return;
    const filled: PullInto[] = [];
    while (filled.length < reader.requests.length) ArrayPrototypePush(filled, this.#waiting.shift());
    this.#commitAll(filled);
  }

  #respondReadable(count: number, into: PullInto): void {
    into.filled += count;
    if (into.readerType === FOR_NOBODY) {
      this.#enqueueAbandoned(into);
      this.#commitAll(this.#fillWaiting());
      return;
    }
    if (into.filled < into.minimum) return;
    this.#waiting.shift();
    const rest = into.filled % into.view.elementSize;
    if (rest > 0) {
      const end = into.view.byteOffset + into.filled;
      this.#pushCopy(into.buffer, end - rest, rest);
      into.filled -= rest;
    }
    const filled = this.#fillWaiting();
    this.#commit(into);
    this.#commitAll(filled);
  }

  cancelSteps(reason: unknown): Outcome {
    this.#voidRequest();
    this.#waiting.clear();
    this.#reset();
    const source = this.#source;
    const outcome = source.cancel(reason);
    this.#forget();
    return outcome;
  }

  pullSteps(request: ReadRequest): void {
    if (this.#total > 0) {
      this.#serve(request);
      return;
    }
    const size = this.#autoAllocate;
    if (size !== undefined) {
      try {
        const { buffer } = new NativeUint8Array(size);
        const view: View = { buffer, byteOffset: 0, byteLength: size, elementSize: 1, make: NativeUint8Array as never };
        this.#waiting.push(new PullInto(buffer, view, 1, FOR_DEFAULT));
      } catch (error) {
        request.error(error);
        return;
      }
    }
    (this.stream.reader!.requests as List<ReadRequest>).push(request);
    this.#callPull();
  }

  releaseSteps(): void {
    const first = this.#waiting.head;
    if (first === undefined) return;
    first.readerType = FOR_NOBODY;
    this.#waiting.clear();
    this.#waiting.push(first);
  }
}
