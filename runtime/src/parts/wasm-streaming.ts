/**
 * `WebAssembly.compileStreaming` and `instantiateStreaming` (WebAssembly Web API, section 3): what they look at before they
 * compile. Compiling from bytes is off, as it is for `WebAssembly.compile`.
 */
import { StringPrototypeToLowerCase, StringPrototypeTrim } from "../internal/primordials.ts";
import { isUnusable } from "../fetch/body.ts";
import { fromHead, peek } from "../fetch/headers.ts";
import { headOf, isResponse, rawBodyOf, statusOf } from "../fetch/response.ts";
import { CompileError } from "../wasm.ts";

export async function refuse(source: unknown, name: string): Promise<never> {
  const response: unknown = await source;
  if (!isResponse(response)) throw new TypeError(`WebAssembly.${name} takes a Response, or a promise of one.`);
  const type = peek(fromHead(headOf(response), false), "content-type") ?? "";
  if (StringPrototypeToLowerCase(StringPrototypeTrim(type)) !== "application/wasm") {
    throw new TypeError(`WebAssembly.${name} takes a Response of the type application/wasm, not "${type}".`);
  }
  const status = statusOf(response);
  if (status < 200 || status > 299) throw new TypeError(`WebAssembly.${name}: the Response has the status ${status}.`);
  if (isUnusable(rawBodyOf(response))) throw new TypeError(`WebAssembly.${name}: the Response's body has been used.`);
  throw new CompileError(`WebAssembly.${name}(): Wasm code generation disallowed by embedder`);
}
