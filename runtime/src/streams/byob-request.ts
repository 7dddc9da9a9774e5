/** What a byte source is given: `ReadableByteStreamController` and `ReadableStreamBYOBRequest`. */
import { finishInterface, illegalConstructor, INTERNAL, requireArguments } from "../internal/webidl.ts";
import { TypedArrayPrototypeGetBuffer } from "../internal/primordials.ts";
import type { ByteController } from "./byte-controller.ts";
import { READABLE } from "./readable.ts";
import { toSize } from "./source.ts";
import { isDetached, isView, viewOf } from "./views.ts";

let newByobRequest: (controller: ByteController, view: Uint8Array<ArrayBuffer>) => ReadableStreamBYOBRequest;
let voidByobRequest: (request: ReadableStreamBYOBRequest) => void;
let newByteController: (controller: ByteController) => ReadableByteStreamController;

function over(): TypeError {
  return new TypeError("The BYOB request has been answered already.");
}

export class ReadableStreamBYOBRequest {
  #controller: ByteController | undefined;
  #view: Uint8Array<ArrayBuffer> | null;

  constructor() {
    illegalConstructor(arguments[0]);
    this.#controller = arguments[1];
    this.#view = arguments[2];
  }

  static {
    const make = ReadableStreamBYOBRequest as unknown as new (...given: unknown[]) => ReadableStreamBYOBRequest;
    newByobRequest = (controller, view) => new make(INTERNAL, controller, view);
    voidByobRequest = (request) => {
      request.#controller = undefined;
      request.#view = null;
    };
  }

  get view(): Uint8Array<ArrayBuffer> | null {
    return this.#view;
  }

  respond(bytesWritten: number): void {
    void this.#view;
    requireArguments(arguments.length, 1, "respond");
    const count = toSize(bytesWritten, "bytesWritten");
    if (this.#controller === undefined) throw over();
    if (isDetached(TypedArrayPrototypeGetBuffer(this.#view))) throw new TypeError("The view's buffer is detached.");
    this.#controller.respond(count);
  }

  respondWithNewView(view: ArrayBufferView): void {
    void this.#view;
    requireArguments(arguments.length, 1, "respondWithNewView");
    if (!isView(view)) throw new TypeError("respondWithNewView takes an ArrayBufferView.");
    const parts = viewOf(view);
    if (this.#controller === undefined) throw over();
    if (isDetached(parts.buffer)) throw new TypeError("The view's buffer is detached.");
    this.#controller.respondWithNewView(parts);
  }
}
finishInterface(ReadableStreamBYOBRequest, "ReadableStreamBYOBRequest");

export class ReadableByteStreamController {
  #controller: ByteController;

  constructor() {
    illegalConstructor(arguments[0]);
    this.#controller = arguments[1];
  }

  static {
    const make = ReadableByteStreamController as unknown as new (...given: unknown[]) => ReadableByteStreamController;
    newByteController = (controller) => new make(INTERNAL, controller);
  }

  get byobRequest(): ReadableStreamBYOBRequest | null {
    return this.#controller.byobRequest;
  }

  get desiredSize(): number | null {
    return this.#controller.desiredSize();
  }

  close(): void {
    const controller = this.#controller;
    checkOpen(controller);
    controller.close();
  }

  enqueue(chunk: ArrayBufferView): void {
    const controller = this.#controller;
    requireArguments(arguments.length, 1, "enqueue");
    if (!isView(chunk)) throw new TypeError("A byte stream takes chunks that are ArrayBufferViews.");
    const view = viewOf(chunk);
    if (view.byteLength === 0) throw new TypeError("A byte stream takes no empty chunks.");
    checkOpen(controller);
    controller.enqueue(view);
  }

  error(error: unknown = undefined): void {
    this.#controller.error(error);
  }
}
finishInterface(ReadableByteStreamController, "ReadableByteStreamController");

function checkOpen(controller: ByteController): void {
  if (controller.isClosing || controller.stream.state !== READABLE) {
    throw new TypeError("The stream is closed already, or it failed.");
  }
}

export { newByobRequest, newByteController, voidByobRequest };
