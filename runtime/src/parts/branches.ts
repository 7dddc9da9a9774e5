/** Streams out of something else: two out of one, and one out of an iterable. */
export { streamFrom } from "../streams/from.ts";
export { teeReadable } from "../streams/tee.ts";
