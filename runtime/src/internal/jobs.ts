/** Work that the host has other threads do: promises by the number of the job. */
import { MapPrototypeDelete, MapPrototypeGet, MapPrototypeSet, NativeMap, NativePromise } from "./primordials.ts";

/** A result without a prototype, so that a promise does not look for `then` where a worker may have put one. */
export interface Result<T> {
  readonly value: T;
}

type Resolve = (result: Result<never>) => void;

const waiting = new NativeMap<number, Resolve>();

/** What the job comes to. */
export function jobResult<T>(job: number): Promise<Result<T>> {
  return new NativePromise<Result<T>>((resolve) => {
    MapPrototypeSet(waiting, job, resolve);
  });
}

/** See `Entry.jobDone`. */
export function jobDone(job: number, value: unknown): void {
  const resolve = MapPrototypeGet(waiting, job) as ((result: Result<unknown>) => void) | undefined;
  if (resolve === undefined) return;
  MapPrototypeDelete(waiting, job);
  resolve({ __proto__: null, value } as Result<unknown>);
}
