/** The controller of a readable stream of anything (Streams, sections 4.6 and 4.10). */
import { MathMax } from "../internal/primordials.ts";
import { finishInterface, illegalConstructor, INTERNAL } from "../internal/webidl.ts";
import { List } from "./list.ts";
import { type Outcome, type Result, upon } from "./promises.ts";
import {
  closeReadable,
  ERRORED,
  errorReadable,
  READABLE,
  type Readable,
  type ReadableController,
  type ReadRequest,
} from "./readable.ts";
import { SILENT, type Source } from "./source.ts";
import { checkedSize, type SizeOf } from "./strategies.ts";

class Entry {
  next: Entry | undefined = undefined;
  constructor(
    readonly value: unknown,
    readonly size: number,
  ) {}
}

export class DefaultController implements ReadableController {
  readonly stream: Readable;
  readonly #queue = new List<Entry>();
  #total = 0;
  #source: Source;
  #sizeOf: SizeOf;
  readonly #mark: number;
  #started = false;
  #closing = false;
  #pulling = false;
  #pullAgain = false;
  /** Made with the first pull that goes on. */
  #done: (() => void) | undefined = undefined;
  #failed: ((error: unknown) => void) | undefined = undefined;

  /** SetUpReadableStreamDefaultController, up to the source's start. */
  constructor(stream: Readable, source: Source, mark: number, sizeOf: SizeOf) {
    this.stream = stream;
    this.#source = source;
    this.#mark = mark;
    this.#sizeOf = sizeOf;
    stream.controller = this;
  }

  /** The rest of the set-up: with what the source's start gave. */
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

  canEnqueue(): boolean {
    return !this.#closing && this.stream.state === READABLE;
  }

  desiredSize(): number | null {
    const { state } = this.stream;
    if (state === READABLE) return this.#mark - this.#total;
    return state === ERRORED ? null : 0;
  }

  isBusy(): boolean {
    return this.#queue.length > 0 || this.#pulling || this.#closing;
  }

  /** ReadableStreamDefaultControllerShouldCallPull. */
  wantsMore(): boolean {
    if (!this.#started || !this.canEnqueue()) return false;
    const { reader } = this.stream;
    if (reader !== undefined && reader.requests.length > 0) return true;
    return this.#mark - this.#total > 0;
  }

  #callPull(): void {
    if (!this.wantsMore()) return;
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
    if (!this.canEnqueue()) return;
    this.#closing = true;
    if (this.#queue.length > 0) return;
    this.#forget();
    closeReadable(this.stream);
  }

  /** ReadableStreamDefaultControllerEnqueue. Throws what the strategy throws. */
  enqueue(chunk: unknown): void {
    if (!this.canEnqueue()) return;
    const { reader } = this.stream;
    if (reader !== undefined && reader.requests.length > 0) {
      (reader.requests.shift() as ReadRequest).chunk(chunk);
    } else {
      let size = 1;
      if (this.#sizeOf !== undefined) {
        try {
          size = checkedSize(this.#sizeOf(chunk));
        } catch (error) {
          this.error(error);
          throw error;
        }
      }
      this.#queue.push(new Entry(chunk, size));
      this.#total += size;
    }
    this.#callPull();
  }

  error(error: unknown): void {
    if (this.stream.state !== READABLE) return;
    this.#reset();
    this.#forget();
    errorReadable(this.stream, error);
  }

  #reset(): void {
    this.#queue.clear();
    this.#total = 0;
  }

  /** Lets go of user code. */
  #forget(): void {
    this.#source = SILENT;
    this.#sizeOf = undefined;
  }

  cancelSteps(reason: unknown): Outcome {
    this.#reset();
    const source = this.#source;
    const outcome = source.cancel(reason);
    this.#forget();
    return outcome;
  }

  pullSteps(request: ReadRequest): void {
    if (this.#queue.length > 0) {
      const { value, size } = this.#queue.shift();
      // Fractions do not add up.
      this.#total = MathMax(this.#total - size, 0);
      if (this.#closing && this.#queue.length === 0) {
        this.#forget();
        closeReadable(this.stream);
      } else {
        this.#callPull();
      }
      request.chunk(value);
    } else {
      (this.stream.reader!.requests as List<ReadRequest>).push(request);
      this.#callPull();
    }
  }

  releaseSteps(): void {}
}

let newDefaultController: (controller: DefaultController) => ReadableStreamDefaultController;

export class ReadableStreamDefaultController {
  #controller: DefaultController;

  constructor() {
    illegalConstructor(arguments[0]);
    this.#controller = arguments[1];
  }

  static {
    newDefaultController = (controller) =>
      new (ReadableStreamDefaultController as unknown as new (...given: unknown[]) => ReadableStreamDefaultController)(
        INTERNAL,
        controller,
      );
  }

  get desiredSize(): number | null {
    return this.#controller.desiredSize();
  }

  close(): void {
    const controller = this.#controller;
    if (!controller.canEnqueue()) throw new TypeError("The stream is closed already, or it failed.");
    controller.close();
  }

  enqueue(chunk: unknown = undefined): void {
    const controller = this.#controller;
    if (!controller.canEnqueue()) throw new TypeError("The stream is closed already, or it failed; nothing can be enqueued.");
    controller.enqueue(chunk);
  }

  error(error: unknown = undefined): void {
    this.#controller.error(error);
  }
}
finishInterface(ReadableStreamDefaultController, "ReadableStreamDefaultController");

export { newDefaultController };
