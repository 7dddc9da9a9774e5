import { attempt, bytes, show } from "./show.mjs";

export default {
  "values": show(() => {
    const copy = structuredClone({ a: [1, , 3], d: new Date(5), m: new Map([[1, { b: 2 }]]), s: new Set([1]), r: /x/gi, n: 10n, u: undefined, e: new RangeError("x") });
    return [copy.a.length, 1 in copy.a, copy.d.getTime(), [...copy.m], [...copy.s], `${copy.r}`, `${copy.n}`, "u" in copy, copy.e.name, copy.e.message];
  }),
  "cycles": show(() => {
    const one = { name: "x" };
    one.self = one;
    const copy = structuredClone(one);
    return [copy.self === copy, copy !== one];
  }),
  "transfer": show(() => {
    const buffer = bytes("abc").buffer;
    const copy = structuredClone(buffer, { transfer: [buffer] });
    return [buffer.byteLength, copy.byteLength];
  }),
  "uncloneable": show(async () => [await attempt(() => structuredClone(() => {})), await attempt(() => structuredClone(Symbol())), await attempt(() => structuredClone(new Headers()) && "ok")]),
  "typed-arrays": show(() => [...structuredClone(new Uint16Array([1, 65535]))]),
  "class-instances": show(() => {
    class Point { x = 1; get y() { return 2; } }
    const copy = structuredClone(new Point());
    return [copy, copy instanceof Point];
  }),
  "message-channel": show(async () => {
    const { port1, port2 } = new MessageChannel();
    const got = new Promise((resolve) => (port2.onmessage = (event) => resolve(event.data)));
    port1.postMessage({ a: [1, 2] });
    const data = await got;
    port1.close();
    return data;
  }),
};
