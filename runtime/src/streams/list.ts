/** A queue whose items carry their own links: nothing is allocated or moved for an item, and no array is indexed. */
export interface Linked<T> {
  next: T | undefined;
}

export class List<T extends Linked<T>> {
  head: T | undefined = undefined;
  #tail: T | undefined = undefined;
  length = 0;

  push(item: T): void {
    item.next = undefined;
    if (this.head === undefined) this.head = item;
    else this.#tail!.next = item;
    this.#tail = item;
    this.length += 1;
  }

  /** Takes the first item out; there must be one. */
  shift(): T {
    const item = this.head!;
    this.head = item.next;
    item.next = undefined;
    if (this.head === undefined) this.#tail = undefined;
    this.length -= 1;
    return item;
  }

  clear(): void {
    this.head = undefined;
    this.#tail = undefined;
    this.length = 0;
  }
}
