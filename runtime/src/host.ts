/** The host's native functions, taken out of the global that the host left them in. */
import type { Ops } from "./ops.d.ts";

const holder = globalThis as unknown as { __ops?: Ops };
const ops = holder.__ops;
if (ops === undefined) throw new Error("the global __ops is missing");
delete holder.__ops;

export const {
  respond,
  respondStream,
  requestDone,
  fail,
  bodyWrite,
  bodyEnd,
  bodyAbort,
  bodyPull,
  bodyCancel,
  fetchStart,
  fetchCancel,
  timerStart,
  timerCancel,
  log,
  exception,
  now,
  random,
  encodeUtf8,
  utf8Length,
  encodeInto,
  decodeUtf8,
  decodeLatin1,
  urlParse,
  urlSet,
  structuredClone,
  detach,
  htmlNew,
  htmlResume,
  htmlOutput,
  htmlEnd,
  htmlSerial,
  htmlToken,
  part,
  currentRequest,
  setCurrentRequest,
} = ops;
