/** Streams that are given away (Streams, sections 4.2.5, 5.2.5 and 6.2.4); what connects the two ends is in a part. */
import { loadPart } from "../internal/parts.ts";
import { isReadableStream } from "./readable-stream.ts";
import { isTransformStream } from "./transform.ts";
import { isWritableStream } from "./writable-stream.ts";

type Crossing = typeof import("../parts/stream-transfer.ts");

/** What `structuredClone` asks; see `TransferableKind` there. */
export const transferableStreams = {
  owns: (value: object): boolean => isReadableStream(value) || isWritableStream(value) || isTransformStream(value),
  begin: (value: object): object => loadPart<Crossing>("stream-transfer").begin(value),
  finish: (from: object, to: object): void => loadPart<Crossing>("stream-transfer").finish(from, to),
};
