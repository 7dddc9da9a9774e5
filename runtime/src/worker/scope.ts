/** What kind of global object this is (HTML, section 10.2.1; Service Workers, section 4.1): for code that asks `self instanceof …`. */
import { ReflectSetPrototypeOf } from "../internal/primordials.ts";
import { expose, finishInterface, illegalConstructor } from "../internal/webidl.ts";
import { EventTarget } from "../dom/event.ts";

class WorkerGlobalScope extends EventTarget {
  constructor(token: unknown = undefined) {
    illegalConstructor(token);
    super();
  }
}
finishInterface(WorkerGlobalScope, "WorkerGlobalScope");

class ServiceWorkerGlobalScope extends WorkerGlobalScope {}
finishInterface(ServiceWorkerGlobalScope, "ServiceWorkerGlobalScope");

export function installScope(): void {
  expose("WorkerGlobalScope", WorkerGlobalScope);
  expose("ServiceWorkerGlobalScope", ServiceWorkerGlobalScope);
  ReflectSetPrototypeOf(globalThis, ServiceWorkerGlobalScope.prototype);
}
