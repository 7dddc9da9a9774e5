/** `scheduler.wait`, as Workers has it. */
import { NativePromise } from "../internal/primordials.ts";
import { expose, finishInterface, illegalConstructor, INTERNAL, toDictionary } from "../internal/webidl.ts";
import { type AbortSignal, isAbortSignal, offAbort, onAbort } from "../dom/abort.ts";
import { cancelTimer, startTimer } from "./timers.ts";

class Scheduler {
  constructor(token?: unknown) {
    illegalConstructor(token);
  }
  /** A promise that is fulfilled after so many milliseconds, or rejected when the signal aborts. */
  wait(milliseconds: number, options?: { signal?: AbortSignal }): Promise<void> {
    const { signal } = toDictionary<{ signal: AbortSignal }>(options, "wait options");
    if (signal !== undefined && !isAbortSignal(signal)) throw new TypeError("The option signal must be an AbortSignal.");
    const ms = Number(milliseconds);
    return new NativePromise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const steps = () => {
        cancelTimer(token);
        reject(signal!.reason);
      };
      const token = startTimer(
        () => {
          if (signal !== undefined) offAbort(signal, steps);
          resolve();
        },
        ms >= 0 ? ms : 0,
        false,
      );
      if (signal !== undefined) onAbort(signal, steps);
    });
  }
}
finishInterface(Scheduler, "Scheduler");

export function installScheduler(): void {
  expose("Scheduler", Scheduler);
  expose("scheduler", new Scheduler(INTERNAL));
}
