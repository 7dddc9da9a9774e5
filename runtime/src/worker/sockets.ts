/** WebSockets as the host knows them: who takes the messages of a stream, and what ends with a request. */
import {
  MapPrototypeDelete,
  MapPrototypeGet,
  MapPrototypeGetSize,
  MapPrototypeSet,
  NativeMap,
} from "../internal/primordials.ts";
import { Owned } from "../internal/owned.ts";
import type { Key } from "../ops.d.ts";

/** Takes what arrives on a stream that is a socket. */
export interface SocketSink {
  message(data: string | Uint8Array<ArrayBuffer>): void;
  /** 1005: without a code; 1006: the connection broke off. Nothing follows. */
  closed(code: number, reason: string): void;
  /** What was sent has been taken. */
  writable(): void;
  /** The request that it belongs to is over. */
  dropped(): void;
}

interface Entry {
  sink: SocketSink;
  owner: Key;
}

const entries = new NativeMap<Key, Entry>();
const owned = new Owned();

function entryOf(key: Key): Entry | undefined {
  return MapPrototypeGet(entries, key) as Entry | undefined;
}

/** From now on `sink` takes what arrives on the stream; it ends with the request `owner`. */
export function setSink(key: Key, owner: Key, sink: SocketSink): void {
  MapPrototypeSet(entries, key, { sink, owner });
  owned.add(owner, key);
}

/** Nothing more arrives on the stream. */
export function removeSink(key: Key): void {
  const entry = entryOf(key);
  if (entry === undefined) return;
  MapPrototypeDelete(entries, key);
  owned.remove(entry.owner, key);
}

/** The request is over, and with it its sockets. */
export function dropSockets(owner: Key): void {
  if (MapPrototypeGetSize(entries) === 0) return;
  const keys = owned.take(owner);
  for (let i = 0; keys !== undefined && i < keys.length; i++) {
    const entry = entryOf(keys[i]!);
    MapPrototypeDelete(entries, keys[i]!);
    entry?.sink.dropped();
  }
}

/** See `Entry.socketMessage`. */
export function socketMessage(key: Key, data: string | Uint8Array<ArrayBuffer>): void {
  entryOf(key)?.sink.message(data);
}

/** See `Entry.socketClosed`. */
export function socketClosed(key: Key, code: number, reason: string): void {
  entryOf(key)?.sink.closed(code, reason);
}

/** See `Entry.writable`. */
export function socketWritable(key: Key): void {
  if (MapPrototypeGetSize(entries) > 0) entryOf(key)?.sink.writable();
}
