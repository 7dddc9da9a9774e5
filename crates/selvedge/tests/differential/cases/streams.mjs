import { attempt, bytes, show, text } from "./show.mjs";

const collect = async (stream) => {
  const out = [];
  const reader = stream.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return out;
    out.push(value);
  }
};
const of = (...values) =>
  new ReadableStream({
    start(controller) {
      for (const value of values) controller.enqueue(value);
      controller.close();
    },
  });

export default {
  "read": show(() => collect(of(1, "two", null))),
  "from": show(async () => [await collect(ReadableStream.from([1, 2])), await collect(ReadableStream.from((async function* () { yield 3; })()))]),
  "async-iteration": show(async () => {
    const out = [];
    for await (const value of of(1, 2, 3)) {
      out.push(value);
      if (value === 2) break;
    }
    return out;
  }),
  "tee": show(async () => (await Promise.all(of(1, 2).tee().map(collect)))),
  "pull-order": show(async () => {
    const log = [];
    let count = 0;
    const stream = new ReadableStream({
      start: () => void log.push("start"),
      pull(controller) {
        log.push("pull");
        if (++count === 3) controller.close();
        else controller.enqueue(count);
      },
      cancel: () => void log.push("cancel"),
    });
    log.push(...(await collect(stream)));
    return log;
  }),
  "backpressure": show(async () => {
    const sizes = [];
    const stream = new ReadableStream({ pull(controller) { sizes.push(controller.desiredSize); controller.enqueue(sizes.length); if (sizes.length === 4) controller.close(); } }, { highWaterMark: 2 });
    await new Promise((resolve) => setTimeout(resolve, 1));
    const early = sizes.length;
    return [early, await collect(stream), sizes];
  }),
  "errors": show(async () => {
    const stream = new ReadableStream({ pull() { throw new RangeError("mine"); } });
    return attempt(() => collect(stream));
  }),
  "cancel-reason": show(async () => {
    let reason;
    const stream = new ReadableStream({ cancel: (given) => void (reason = given) });
    await stream.cancel("why");
    return reason;
  }),
  "locked": show(async () => {
    const stream = of(1);
    stream.getReader();
    return [stream.locked, await attempt(() => stream.getReader()), await attempt(() => stream.cancel())];
  }),
  "release": show(async () => {
    const stream = of(1, 2);
    const reader = stream.getReader();
    const one = await reader.read();
    reader.releaseLock();
    return [one, await attempt(() => reader.read()), await collect(stream)];
  }),
  "bytes-byob": show(async () => {
    const stream = new ReadableStream({ type: "bytes", start(c) { c.enqueue(bytes("hello")); c.close(); } });
    const reader = stream.getReader({ mode: "byob" });
    const one = await reader.read(new Uint8Array(3));
    const two = await reader.read(new Uint8Array(3));
    const three = await reader.read(new Uint8Array(3));
    return [text(one.value), text(two.value), three.done, three.value?.length];
  }),
  "bytes-byob-min": show(async () => {
    let count = 0;
    const stream = new ReadableStream({ type: "bytes", pull(c) { c.enqueue(new Uint8Array([++count])); } });
    const { value } = await stream.getReader({ mode: "byob" }).read(new Uint8Array(5), { min: 3 });
    return [...value];
  }),
  "writable": show(async () => {
    const log = [];
    const stream = new WritableStream({ write: (chunk) => void log.push(chunk), close: () => void log.push("close"), abort: (reason) => void log.push(reason) });
    const writer = stream.getWriter();
    log.push(writer.desiredSize);
    await writer.write(1);
    await writer.close();
    return [log, await attempt(() => writer.write(2))];
  }),
  "writable-abort": show(async () => {
    let reason;
    const stream = new WritableStream({ abort: (given) => void (reason = given) });
    const writer = stream.getWriter();
    writer.closed.catch(() => {});
    writer.ready.catch(() => {});
    await writer.abort("stop");
    return [reason, await attempt(() => writer.closed)];
  }),
  "transform": show(async () => collect(of(1, 2).pipeThrough(new TransformStream({ transform: (chunk, c) => c.enqueue(chunk * 2), flush: (c) => c.enqueue("end") })))),
  "transform-identity": show(() => collect(of("a", "b").pipeThrough(new TransformStream()))),
  "transform-error": show(() => attempt(() => collect(of(1).pipeThrough(new TransformStream({ transform() { throw new SyntaxError("no"); } }))))),
  "transform-terminate": show(() => collect(of(1, 2, 3).pipeThrough(new TransformStream({ transform(chunk, c) { c.enqueue(chunk); if (chunk === 2) c.terminate(); } })))),
  "pipe-to": show(async () => {
    const out = [];
    await of(1, 2).pipeTo(new WritableStream({ write: (chunk) => void out.push(chunk) }));
    return out;
  }),
  "pipe-abort": show(async () => {
    const controller = new AbortController();
    const promise = new ReadableStream().pipeTo(new WritableStream(), { signal: controller.signal });
    controller.abort();
    return attempt(() => promise);
  }),
  "fixed-length": show(async () => {
    const { readable, writable } = new FixedLengthStream(5);
    const writer = writable.getWriter();
    void writer.write(bytes("hello"));
    void writer.close();
    return new Response(readable);
  }),
  "identity": show(async () => {
    const { readable, writable } = new IdentityTransformStream();
    const writer = writable.getWriter();
    void writer.write(bytes("through")).then(() => writer.close());
    return await new Response(readable).text();
  }),
  "strategies": show(() => [new CountQueuingStrategy({ highWaterMark: 3 }).size("x"), new ByteLengthQueuingStrategy({ highWaterMark: 3 }).size(bytes("four"))]),
  "slow-response": show(() => {
    let count = 0;
    return new Response(
      new ReadableStream({
        async pull(controller) {
          await new Promise((resolve) => setTimeout(resolve, 2));
          if (++count > 5) controller.close();
          else controller.enqueue(bytes(`${count} `));
        },
      }),
    );
  }),
};
