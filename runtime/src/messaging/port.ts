/** `MessagePort` (HTML, section 9.4). Messages arrive as tasks of the request that sent them, and end with it. */
import { ArrayPrototypePush, ArrayPrototypeSplice } from "../internal/primordials.ts";
import { finishInterface, illegalConstructor, INTERNAL, requireArguments, toDictionary } from "../internal/webidl.ts";
import { defineHandler, dispatch, Event, EventTarget, MessageEvent, trusted } from "../dom/event.ts";
import { DOMException } from "../dom/exception.ts";
import { addTransferable, cloneWithTransfer, toTransferList } from "../structured-clone.ts";
import { startTimer } from "../time/timers.ts";

interface Message {
  value: unknown;
  ports: MessagePort[];
}

/** One of two entangled ends. It moves from one `MessagePort` to another when that is transferred. */
class End {
  other: End | undefined = undefined;
  /** Who holds this end; undefined while it is under way. */
  port: MessagePort | undefined = undefined;
  queue: Message[] = [];
  enabled = false;
  closed = false;

  /** Another task for each message that may be delivered. */
  schedule(count: number): void {
    for (let i = 0; i < count; i++) startTimer(() => this.#deliver(), 0, false);
  }

  #deliver(): void {
    const { port } = this;
    if (port === undefined || !this.enabled || this.queue.length === 0) return;
    const message = (ArrayPrototypeSplice(this.queue, 0, 1) as Message[])[0]!;
    const { value, ports } = message;
    // @ts-expect-error An argument that user code cannot give.
    dispatch(port, trusted(new MessageEvent("message", { data: value, ports }, INTERNAL)));
  }
}

let endOf: (port: MessagePort) => End | undefined;
let giveEnd: (port: MessagePort, end: End | undefined) => void;
let isPort: (value: object) => value is MessagePort;

export class MessagePort extends EventTarget {
  #end: End | undefined = undefined;

  constructor(token?: unknown) {
    illegalConstructor(token);
    super();
  }

  static {
    endOf = (port) => port.#end;
    giveEnd = (port, end) => {
      port.#end = end;
    };
    isPort = (value): value is MessagePort => #end in value;
  }

  postMessage(message: unknown, options: unknown = undefined): void {
    requireArguments(arguments.length, 1, "MessagePort.postMessage");
    const end = this.#end;
    const list = toTransferList(transferOf(options));
    for (let i = 0; i < list.length; i++) {
      if (list[i] === this) throw new DOMException("A port cannot be sent through itself.", "DataCloneError");
    }
    const { value, received } = cloneWithTransfer(message, list);
    const target = end?.other;
    if (target === undefined) return;
    const ports: MessagePort[] = [];
    for (let i = 0; i < received.length; i++) if (isPort(received[i]!)) ArrayPrototypePush(ports, received[i]);
    // A port sent to its own other end is lost, and with it what was sent.
    if (target.port === undefined && target.closed) return;
    ArrayPrototypePush(target.queue, { value, ports });
    if (target.enabled) target.schedule(1);
  }

  start(): void {
    const end = this.#end;
    if (end === undefined || end.enabled) return;
    end.enabled = true;
    end.schedule(end.queue.length);
  }

  close(): void {
    const end = this.#end;
    if (end === undefined || end.closed) return;
    end.closed = true;
    end.queue = [];
    const { other } = end;
    end.other = undefined;
    if (other === undefined) return;
    other.other = undefined;
    // After what was sent before.
    startTimer(() => {
      other.closed = true;
      if (other.port !== undefined) dispatch(other.port, trusted(new Event("close")));
    }, 0, false);
  }

  declare onmessage: ((event: Event) => unknown) | null;
  declare onmessageerror: ((event: Event) => unknown) | null;
  declare onclose: ((event: Event) => unknown) | null;
}
finishInterface(MessagePort, "MessagePort");
defineHandler(MessagePort.prototype, "message", (port) => {
  const end = endOf(port as MessagePort);
  if (end !== undefined && !end.enabled) {
    end.enabled = true;
    end.schedule(end.queue.length);
  }
});
defineHandler(MessagePort.prototype, "messageerror");
defineHandler(MessagePort.prototype, "close");

/** What is to be transferred: a sequence, or a dictionary with one. */
function transferOf(options: unknown): unknown {
  if (typeof options === "object" && options !== null) {
    const iterator = (options as Partial<Iterable<unknown>>)[Symbol.iterator];
    if (iterator !== undefined && iterator !== null) return options;
  }
  return toDictionary<{ transfer: unknown }>(options, "postMessage options").transfer;
}

addTransferable({
  owns: (value) => isPort(value),
  begin(value) {
    if (endOf(value as MessagePort) === undefined) {
      throw new DOMException("The port has been transferred already.", "DataCloneError");
    }
    return new MessagePort(INTERNAL);
  },
  finish(from, to) {
    const end = endOf(from as MessagePort);
    giveEnd(from as MessagePort, undefined);
    if (end === undefined) return;
    end.enabled = false;
    end.port = to as MessagePort;
    giveEnd(to as MessagePort, end);
  },
});

export class MessageChannel {
  #port1 = new MessagePort(INTERNAL);
  #port2 = new MessagePort(INTERNAL);

  constructor() {
    const first = new End();
    const second = new End();
    first.other = second;
    second.other = first;
    first.port = this.#port1;
    second.port = this.#port2;
    giveEnd(this.#port1, first);
    giveEnd(this.#port2, second);
  }
  get port1(): MessagePort {
    return this.#port1;
  }
  get port2(): MessagePort {
    return this.#port2;
  }
}
finishInterface(MessageChannel, "MessageChannel");

export function isMessagePort(value: unknown): value is MessagePort {
  return typeof value === "object" && value !== null && isPort(value);
}
