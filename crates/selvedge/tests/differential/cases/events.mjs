import { attempt, show } from "./show.mjs";

export default {
  "dispatch": show(() => {
    const log = [];
    const target = new EventTarget();
    target.addEventListener("x", (event) => log.push([event.type, event.target === target, event.eventPhase]));
    target.addEventListener("x", { handleEvent: () => log.push("object") }, { once: true });
    log.push(target.dispatchEvent(new Event("x")), target.dispatchEvent(new Event("x")));
    return log;
  }),
  "prevent-default": show(() => {
    const target = new EventTarget();
    target.addEventListener("x", (event) => event.preventDefault());
    return [target.dispatchEvent(new Event("x", { cancelable: true })), target.dispatchEvent(new Event("x"))];
  }),
  "stop-immediately": show(() => {
    const log = [];
    const target = new EventTarget();
    target.addEventListener("x", (event) => (log.push(1), event.stopImmediatePropagation()));
    target.addEventListener("x", () => log.push(2));
    target.dispatchEvent(new Event("x"));
    return log;
  }),
  "custom-event": show(() => [new CustomEvent("x", { detail: { a: 1 } }).detail, new CustomEvent("x").detail]),
  "subclass": show(() => {
    class Source extends EventTarget {}
    let seen = 0;
    const source = new Source();
    source.addEventListener("x", () => seen++);
    source.dispatchEvent(new Event("x"));
    return [seen, source instanceof EventTarget];
  }),
  "removed": show(() => {
    const log = [];
    const target = new EventTarget();
    const listener = () => log.push("no");
    target.addEventListener("x", listener);
    target.addEventListener("x", listener);
    target.removeEventListener("x", listener);
    target.dispatchEvent(new Event("x"));
    return log;
  }),
  "signal-removes": show(() => {
    const log = [];
    const controller = new AbortController();
    const target = new EventTarget();
    target.addEventListener("x", () => log.push(1), { signal: controller.signal });
    target.dispatchEvent(new Event("x"));
    controller.abort();
    target.dispatchEvent(new Event("x"));
    return log;
  }),
  "abort": show(() => {
    const controller = new AbortController();
    const log = [];
    controller.signal.addEventListener("abort", (event) => log.push(event.type));
    controller.signal.onabort = () => log.push("on");
    controller.abort("reason");
    controller.abort("again");
    return [log, controller.signal.aborted, controller.signal.reason];
  }),
  "abort-default-reason": show(() => {
    const controller = new AbortController();
    controller.abort();
    return [controller.signal.reason.name, controller.signal.reason instanceof DOMException];
  }),
  "abort-static": show(() => [AbortSignal.abort(5).reason, AbortSignal.abort().aborted]),
  "abort-timeout": show(async () => {
    const signal = AbortSignal.timeout(5);
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    return signal.reason.name;
  }),
  "abort-any": show(() => {
    const [one, two] = [new AbortController(), new AbortController()];
    const any = AbortSignal.any([one.signal, two.signal]);
    two.abort("two");
    return [any.aborted, any.reason, AbortSignal.any([]).aborted];
  }),
  "throw-if-aborted": show(async () => [await attempt(() => AbortSignal.abort(new RangeError("x")).throwIfAborted()), await attempt(() => new AbortController().signal.throwIfAborted())]),
  "illegal-constructors": show(async () => [await attempt(() => new AbortSignal()), await attempt(() => new Event()), await attempt(() => Event("x"))]),
  "dom-exception": show(() => {
    const error = new DOMException("text", "AbortError");
    return [error.name, error.message, error.code, error instanceof Error, DOMException.ABORT_ERR, new DOMException().name];
  }),
};
