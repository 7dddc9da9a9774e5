// Answers other workers in good faith.
import { RpcTarget, WorkerEntrypoint } from "cloudflare:workers";

class Again extends RpcTarget {
  #count;
  constructor(count) {
    super();
    this.#count = count;
  }
  again() {
    return new Again(this.#count + 1);
  }
  count() {
    return this.#count;
  }
}

export default class extends WorkerEntrypoint {
  fetch() {
    return new Response("fine");
  }
  take(value) {
    return typeof value;
  }
  again() {
    return new Again(1);
  }
}
