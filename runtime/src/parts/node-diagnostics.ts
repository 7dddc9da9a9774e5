/** `node:diagnostics_channel` and `node:perf_hooks`. */
import { AsyncLocalStorage } from "node:async_hooks";
import { checkFunction, unsupported, wrongType } from "../internal/node-errors.ts";
import { reportException } from "../internal/report.ts";

type Subscriber = (message: unknown, name: PropertyKey) => void;
interface Storage {
  run(store: unknown, fn: () => unknown): unknown;
}

class Channel {
  name: PropertyKey;
  #subscribers: Subscriber[] = [];
  #stores = new Map<Storage, ((message: unknown) => unknown) | undefined>();
  constructor(name: PropertyKey) {
    this.name = name;
  }
  get hasSubscribers(): boolean {
    return this.#subscribers.length > 0 || this.#stores.size > 0;
  }
  subscribe(subscriber: Subscriber): void {
    checkFunction(subscriber, "subscription");
    this.#subscribers = [...this.#subscribers, subscriber];
  }
  unsubscribe(subscriber: Subscriber): boolean {
    const at = this.#subscribers.indexOf(subscriber);
    if (at >= 0) this.#subscribers = this.#subscribers.toSpliced(at, 1);
    return at >= 0;
  }
  publish(message: unknown): void {
    for (const subscriber of this.#subscribers) {
      try {
        subscriber(message, this.name);
      } catch (error) {
        reportException(error);
      }
    }
  }
  bindStore(store: Storage, transform?: (message: unknown) => unknown): void {
    this.#stores.set(store, transform);
  }
  unbindStore(store: Storage): boolean {
    return this.#stores.delete(store);
  }
  runStores(message: unknown, fn: Function, self?: unknown, ...args: unknown[]): unknown {
    let run = (): unknown => {
      this.publish(message);
      return Reflect.apply(fn, self, args);
    };
    for (const [store, transform] of this.#stores) {
      const next = run;
      run = () => {
        let value = message;
        try {
          if (transform) value = transform(message);
        } catch (error) {
          reportException(error);
          return next();
        }
        return store.run(value, next);
      };
    }
    return run();
  }
}

const channels = new Map<PropertyKey, Channel>();
function channel(name: PropertyKey): Channel {
  if (typeof name !== "string" && typeof name !== "symbol") throw wrongType("channel", "one of type string or symbol", name);
  let known = channels.get(name);
  if (known === undefined) channels.set(name, (known = new Channel(name)));
  return known;
}

const EVENTS = ["start", "end", "asyncStart", "asyncEnd", "error"] as const;
type Phase = (typeof EVENTS)[number];
type Context = { error?: unknown; result?: unknown };

class TracingChannel {
  start!: Channel;
  end!: Channel;
  asyncStart!: Channel;
  asyncEnd!: Channel;
  error!: Channel;
  constructor(given: string | Record<Phase, Channel>) {
    for (const phase of EVENTS) this[phase] = typeof given === "string" ? channel(`tracing:${given}:${phase}`) : given[phase];
  }
  get hasSubscribers(): boolean {
    return EVENTS.some((phase) => this[phase].hasSubscribers);
  }
  subscribe(handlers: Partial<Record<Phase, Subscriber>>): void {
    for (const phase of EVENTS) if (handlers[phase]) this[phase].subscribe(handlers[phase]);
  }
  unsubscribe(handlers: Partial<Record<Phase, Subscriber>>): boolean {
    return EVENTS.every((phase) => !handlers[phase] || this[phase].unsubscribe(handlers[phase]));
  }
  traceSync(fn: Function, context: Context = {}, self?: unknown, ...args: unknown[]): unknown {
    return this.start.runStores(context, () => {
      try {
        return (context.result = Reflect.apply(fn, self, args) as unknown);
      } catch (error) {
        context.error = error;
        this.error.publish(context);
        throw error;
      } finally {
        this.end.publish(context);
      }
    });
  }
  tracePromise(fn: Function, context: Context = {}, self?: unknown, ...args: unknown[]): unknown {
    const settle = (key: "result" | "error") => (value: unknown) => {
      context[key] = value;
      if (key === "error") this.error.publish(context);
      this.asyncStart.publish(context);
      this.asyncEnd.publish(context);
      if (key === "error") throw value;
      return value;
    };
    return this.start.runStores(context, () => {
      try {
        return Promise.resolve(Reflect.apply(fn, self, args)).then(settle("result"), settle("error"));
      } catch (error) {
        context.error = error;
        this.error.publish(context);
        throw error;
      } finally {
        this.end.publish(context);
      }
    });
  }
  traceCallback(fn: Function, position = -1, context: Context = {}, self?: unknown, ...args: unknown[]): unknown {
    const at = position < 0 ? args.length + position : position;
    const callback = args[at];
    checkFunction(callback, "callback");
    const { asyncStart, asyncEnd, error: failed } = this;
    args[at] = function (this: unknown, error: unknown, result: unknown, ...rest: unknown[]) {
      if (error) {
        context.error = error;
        failed.publish(context);
      } else context.result = result;
      return asyncStart.runStores(context, () => {
        try {
          return Reflect.apply(callback, this, [error, result, ...rest]) as unknown;
        } finally {
          asyncEnd.publish(context);
        }
      });
    };
    return this.start.runStores(context, () => {
      try {
        return Reflect.apply(fn, self, args) as unknown;
      } catch (error) {
        context.error = error;
        failed.publish(context);
        throw error;
      } finally {
        this.end.publish(context);
      }
    });
  }
}
void AsyncLocalStorage;

const diagnostics_channel = {
  channel,
  Channel,
  hasSubscribers: (name: PropertyKey) => channels.get(name)?.hasSubscribers ?? false,
  subscribe: (name: PropertyKey, subscriber: Subscriber) => channel(name).subscribe(subscriber),
  unsubscribe: (name: PropertyKey, subscriber: Subscriber) => channel(name).unsubscribe(subscriber),
  tracingChannel: (given: string | Record<Phase, Channel>) => new TracingChannel(given),
};

const perf_hooks = {
  performance: (globalThis as unknown as { performance: object }).performance,
  constants: {},
  monitorEventLoopDelay: () => {
    throw unsupported("monitorEventLoopDelay()", "time stands still during a turn");
  },
  createHistogram: () => {
    throw unsupported("createHistogram()", "time stands still during a turn");
  },
};

export const modules = { "node:diagnostics_channel": diagnostics_channel, "node:perf_hooks": perf_hooks };
