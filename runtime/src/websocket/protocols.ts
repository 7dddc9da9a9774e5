/** The subprotocols that a client offers. */
import { ArrayPrototypeIndexOf, ArrayPrototypeJoin, ArrayPrototypePush, RegExpPrototypeExec, StringPrototypeToLowerCase } from "../internal/primordials.ts";
import { toUSVString } from "../internal/webidl.ts";
import { DOMException } from "../dom/exception.ts";

/** RFC 9110's token: what a subprotocol's name may consist of. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** The value of `Sec-WebSocket-Protocol` for the constructor's second argument; empty when nothing is offered. */
export function protocolList(protocols: unknown): string {
  const names: string[] = [];
  if (protocols !== undefined) {
    if (typeof protocols === "object" && protocols !== null) {
      if (typeof (protocols as Iterable<unknown>)[Symbol.iterator] !== "function") {
        throw new TypeError("The subprotocols of a WebSocket are a string or a sequence of strings.");
      }
      for (const name of protocols as Iterable<unknown>) ArrayPrototypePush(names, toUSVString(name));
    } else {
      ArrayPrototypePush(names, toUSVString(protocols));
    }
  }
  const lower: string[] = [];
  for (let i = 0; i < names.length; i++) {
    const name = StringPrototypeToLowerCase(names[i]!);
    const repeated = ArrayPrototypeIndexOf(lower, name) >= 0;
    ArrayPrototypePush(lower, name);
    if (RegExpPrototypeExec(TOKEN, name) === null || repeated) {
      throw new DOMException(`Invalid or repeated subprotocol: ${names[i]}`, "SyntaxError");
    }
  }
  return ArrayPrototypeJoin(names, ", ");
}
