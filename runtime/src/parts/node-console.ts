/** `node:console`: the global one, with the class that writes to streams. */
import { format } from "node:util";

interface Sink {
  write(text: string): unknown;
}

class Console {
  #out: Sink;
  #err: Sink;
  constructor(out: Sink | { stdout: Sink; stderr?: Sink }, err?: Sink) {
    const both = "stdout" in out ? out : { stdout: out, stderr: err };
    this.#out = both.stdout;
    this.#err = both.stderr ?? both.stdout;
    for (const name of ["log", "info", "debug", "error", "warn"] as const) this[name] = this[name].bind(this);
  }
  log(...args: unknown[]): void {
    this.#out.write(`${format(...args)}\n`);
  }
  info(...args: unknown[]): void {
    this.log(...args);
  }
  debug(...args: unknown[]): void {
    this.log(...args);
  }
  error(...args: unknown[]): void {
    this.#err.write(`${format(...args)}\n`);
  }
  warn(...args: unknown[]): void {
    this.error(...args);
  }
}

const own = (globalThis as unknown as { console: Record<string, unknown> }).console;
const console: Record<string, unknown> = Object.assign(Object.create(own) as object, { Console });
for (const name of Object.keys(own)) console[name] = own[name];

export const modules = { "node:console": console };
