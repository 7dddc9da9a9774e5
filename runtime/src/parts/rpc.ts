/** Remote calls between workers, as Workers has them. A session of its own for each call of a binding. */
import { PromisePrototypeThen, PromiseResolve, TypedArrayPrototypeSubarray } from "../internal/primordials.ts";
import type { Target } from "../fetch/fetch.ts";
import { Subrequest } from "../fetch/subrequest.ts";
import { type ExecutionContext, finishResponse } from "../worker/context.ts";
import { isTarget } from "../worker/entrypoint.ts";
import type { Key } from "../ops.d.ts";
import * as ops from "../host.ts";
import { failed, Session } from "../rpc/session.ts";
import { type Answer, type Base, isStub, makeMember, makeStub } from "../rpc/stub.ts";
import { Root } from "../rpc/target.ts";
import { StreamTransport, type Transport } from "../rpc/transport.ts";

/** Calls of a binding. */
class Service implements Base {
  constructor(readonly target: Target) {}

  send(path: string[], args: unknown[] | undefined): Answer {
    let call: Subrequest;
    try {
      const key = ops.bindingCall(this.target.binding, this.target.props, "", "", "", true);
      call = new Subrequest(key, ops.currentRequest(), undefined, false);
    } catch (error) {
      return failed(error);
    }
    const transport = new StreamTransport(call.key, () => call.over());
    const session = new Session(transport, undefined);
    PromisePrototypeThen(call.answer, undefined, (error) => session.broken(error));
    void transport.run(session);
    return session.call(0, 0, path, args);
  }

  dup(): Base {
    return this;
  }
  dispose(): void {}
  onBroken(): void {}
}

/** `env.NAME.name`. */
export function serviceMember(target: Target, name: string): object {
  return makeMember(new Service(target), [name]);
}

/** Answers the calls of another worker. */
export function serveSession(key: Key, target: object, env: unknown, context: ExecutionContext): void {
  ops.respondStream(key, 200, "");
  const transport = new StreamTransport(key);
  const session = new Session(transport, new Root(target, env, context), () => {
    transport.end();
    finishResponse(context);
  });
  void transport.run(session);
}

/** Both ends in one worker. */
class Local implements Transport {
  peer: Session | undefined;

  #later(run: (peer: Session) => void): void {
    PromisePrototypeThen(PromiseResolve(undefined), () => run(this.peer!));
  }
  send(framed: Uint8Array<ArrayBuffer>): void {
    this.#later((peer) => peer.message(TypedArrayPrototypeSubarray(framed, 4)));
  }
  end(): void {
    this.#later((peer) => peer.ended());
  }
  abort(error: unknown): void {
    this.#later((peer) => peer.broken(error));
  }
}

/** A stub of something of one's own. */
export function newStub(target: unknown): object {
  if (isStub(target) || (typeof target !== "function" && !isTarget(target))) {
    throw new TypeError("RpcStub takes a function or an RpcTarget.");
  }
  const [there, here] = [new Local(), new Local()];
  const user = new Session(there, undefined);
  const owner = new Session(here, new Root({}, undefined, undefined));
  there.peer = owner;
  here.peer = user;
  return makeStub(user.adopt(owner.show(target)));
}
