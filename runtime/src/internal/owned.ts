/** What belongs to a request and ends with it: timers by their token, subrequests by their key. */
import {
  ArrayPrototypeIndexOf,
  ArrayPrototypePush,
  ArrayPrototypeSplice,
  MapPrototypeDelete,
  MapPrototypeGet,
  MapPrototypeGetSize,
  MapPrototypeSet,
  NativeMap,
} from "./primordials.ts";
import type { Key } from "../ops.d.ts";

export class Owned {
  readonly #byOwner = new NativeMap<Key, number[]>();

  add(owner: Key, id: number): void {
    const ids = MapPrototypeGet(this.#byOwner, owner) as number[] | undefined;
    if (ids !== undefined) ArrayPrototypePush(ids, id);
    else MapPrototypeSet(this.#byOwner, owner, [id]);
  }

  remove(owner: Key, id: number): void {
    const ids = MapPrototypeGet(this.#byOwner, owner) as number[] | undefined;
    if (ids === undefined) return;
    const index = ArrayPrototypeIndexOf(ids, id);
    if (index >= 0) ArrayPrototypeSplice(ids, index, 1);
    if (ids.length === 0) MapPrototypeDelete(this.#byOwner, owner);
  }

  /** Everything of this owner, which owns nothing any more; undefined, at little cost, when there is nothing. */
  take(owner: Key): number[] | undefined {
    if (MapPrototypeGetSize(this.#byOwner) === 0) return undefined;
    const ids = MapPrototypeGet(this.#byOwner, owner) as number[] | undefined;
    if (ids !== undefined) MapPrototypeDelete(this.#byOwner, owner);
    return ids;
  }
}
