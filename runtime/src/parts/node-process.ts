/** `node:process` and the global `process`: what of it makes sense in a worker. */
import EventEmitter from "node:events";
import { coded, wrongType, unsupported } from "../internal/node-errors.ts";
import { ticks } from "../node/ticks.ts";
import { builtin, nodeModules } from "../worker/builtins.ts";
import { bindingsJson } from "../worker/node-globals.ts";
import { reportException } from "../internal/report.ts";
import * as ops from "../host.ts";

/** The version of Node whose modules these resemble. */
const VERSION = "22.19.0";
const begin = ops.now();

function environment(): Record<string, string> {
  const env: Record<string, string> = {};
  for (const { name, type, text } of JSON.parse(bindingsJson) as { name: string; type: string; text: string }[]) {
    if (type !== "plain_text" && type !== "secret_text" && type !== "json") continue;
    // Strings of a JSON binding are themselves, other values their JSON.
    let value = text;
    if (type === "json") {
      const parsed: unknown = JSON.parse(text);
      if (typeof parsed === "string") value = parsed;
    }
    Object.defineProperty(env, name, { value, writable: true, enumerable: true, configurable: true });
  }
  return new Proxy(env, {
    set(target, name, value) {
      if (typeof name === "symbol") throw new TypeError("Cannot convert a Symbol value to a string");
      Object.defineProperty(target, name, { value: `${value}`, writable: true, enumerable: true, configurable: true });
      return true;
    },
  });
}

/** Text goes to the log by lines. */
function output(level: 1 | 4, fd: number): object {
  let line = "";
  let stream: object | undefined;
  const write = (text: string) => {
    const lines = (line + text).split("\n");
    line = lines.pop()!;
    for (const full of lines) ops.log(level, full);
    if (line.length > 8192) {
      ops.log(level, line);
      line = "";
    }
  };
  const make = () => {
    const { Writable } = (builtin("node:stream") as { default: { Writable: new (options: object) => object } }).default;
    return Object.assign(
      new Writable({
        decodeStrings: false,
        write(chunk: string | Uint8Array, _encoding: string, done: () => void) {
          write(typeof chunk === "string" ? chunk : ops.decodeUtf8(chunk, false, true));
          done();
        },
      }),
      { fd, isTTY: false, columns: 80, rows: 24 },
    );
  };
  return {
    get value() {
      return (stream ??= make());
    },
  };
}

const stdout = output(1, 1) as { value: object };
const stderr = output(4, 2) as { value: object };

function hrtime(since?: [number, number]): [number, number] {
  const ms = ops.now() - begin;
  let seconds = Math.floor(ms / 1000);
  let nanos = Math.round((ms % 1000) * 1e6);
  if (since !== undefined) {
    if (!Array.isArray(since)) throw wrongType("time", "an instance of Array", since);
    seconds -= since[0];
    nanos -= since[1];
    if (nanos < 0) {
      seconds -= 1;
      nanos += 1e9;
    }
  }
  return [seconds, nanos];
}
hrtime.bigint = () => BigInt(Math.round((ops.now() - begin) * 1e6));

const process = new EventEmitter();

function emitWarning(warning: unknown, type?: unknown, code?: unknown): void {
  const options = typeof type === "object" && type !== null ? (type as { type?: string; code?: string; detail?: string }) : undefined;
  const name = options ? options.type : typeof type === "string" ? type : undefined;
  const id = options ? options.code : typeof code === "string" ? code : undefined;
  const error = warning instanceof Error ? warning : Object.assign(new Error(`${warning}`), { name: name ?? "Warning" });
  if (id !== undefined) coded(error, id);
  ops.log(3, `${id === undefined ? "" : `[${id}] `}${error.name}: ${error.message}`);
  process.nextTick(() => process.emit("warning", error));
}

let directory = "/";
const nothing = () => process;

Object.assign(process, {
  title: "selvedge",
  version: `v${VERSION}`,
  versions: { node: VERSION },
  release: { name: "node" },
  arch: "x64",
  platform: "linux",
  argv: ["workerd"],
  argv0: "workerd",
  execArgv: [],
  execPath: "",
  exitCode: undefined,
  pid: 1,
  ppid: 0,
  env: environment(),
  features: {},
  config: { target_defaults: {}, variables: {} },
  cwd: () => directory,
  chdir: (to: unknown) => {
    if (typeof to !== "string") throw wrongType("directory", "of type string", to);
    const { resolve } = (builtin("node:path") as { default: { resolve(...p: string[]): string } }).default;
    directory = resolve(directory, to);
  },
  umask: () => 0o22,
  uptime: () => (ops.now() - begin) / 1000,
  hrtime,
  memoryUsage: Object.assign(() => ({ rss: 0, heapTotal: 0, heapUsed: 0, external: 0, arrayBuffers: 0 }), { rss: () => 0 }),
  cpuUsage: () => ({ user: 0, system: 0 }),
  resourceUsage: () => ({}),
  nextTick: (callback: unknown, ...args: unknown[]) => {
    if (typeof callback !== "function") throw wrongType("callback", "of type function", callback);
    ticks.add(callback, args);
  },
  emitWarning,
  getBuiltinModule: (id: unknown) => {
    const name = `${id}`.startsWith("node:") ? `${id}`.slice(5) : `${id}`;
    return nodeModules().includes(name) ? (builtin(`node:${name}`) as { default: object }).default : undefined;
  },
  exit: () => {
    throw unsupported("process.exit()", "return a Response instead");
  },
  abort: () => {
    throw unsupported("process.abort()", "throw an error instead");
  },
  kill: () => {
    throw unsupported("process.kill()", "there are no processes");
  },
  binding: () => {
    throw unsupported("process.binding()", "use the public modules");
  },
  reallyExit: nothing,
  stdin: undefined,
  report: undefined,
  getuid: () => 0,
  geteuid: () => 0,
  getgid: () => 0,
  getegid: () => 0,
  setUncaughtExceptionCaptureCallback: nothing,
  hasUncaughtExceptionCaptureCallback: () => false,
});
Object.defineProperties(process, {
  // Not enumerable, so that the module's named exports do not load streams.
  stdout: { get: () => stdout.value, enumerable: false, configurable: true },
  stderr: { get: () => stderr.value, enumerable: false, configurable: true },
  [Symbol.toStringTag]: { value: "process", configurable: true },
});
ticks.report = reportException;

// The inherited methods are named exports of the module, too.
const { on, once, off, emit, addListener, removeListener, removeAllListeners, listeners, listenerCount, prependListener } = process;
for (const [name, method] of Object.entries({ on, once, off, emit, addListener, removeListener, removeAllListeners, listeners, listenerCount, prependListener })) {
  process[name] = (method as Function).bind(process);
}

export const modules = { "node:process": process };
