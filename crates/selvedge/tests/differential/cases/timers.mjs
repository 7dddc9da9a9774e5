import { attempt, show } from "./show.mjs";

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export default {
  "order": show(async () => {
    const log = [];
    setTimeout(() => log.push("timeout"), 0);
    queueMicrotask(() => log.push("microtask"));
    Promise.resolve().then(() => log.push("promise"));
    log.push("sync");
    await wait(10);
    return log;
  }),
  "arguments": show(() => new Promise((resolve) => setTimeout((...given) => resolve(given), 1, 1, "two"))),
  "interval": show(async () => {
    let count = 0;
    await new Promise((resolve) => {
      const timer = setInterval(() => {
        if (++count === 3) {
          clearInterval(timer);
          resolve();
        }
      }, 1);
    });
    await wait(5);
    return count;
  }),
  "clear": show(async () => {
    let fired = false;
    clearTimeout(setTimeout(() => (fired = true), 1));
    clearTimeout(undefined);
    clearTimeout("x");
    await wait(5);
    return fired;
  }),
  "by-delay": show(async () => {
    const log = [];
    setTimeout(() => log.push(20), 20);
    setTimeout(() => log.push(5), 5);
    setTimeout(() => log.push(10), 10);
    await wait(40);
    return log;
  }),
  "not-a-function": show(() => attempt(() => queueMicrotask(5))),
  "date-stands-still": show(() => {
    const before = Date.now();
    let x = 0;
    for (let i = 0; i < 3_000_000; i++) x += i;
    return [Date.now() - before, performance.now() - performance.now(), x > 0];
  }),
  "date-goes-on-after-waiting": show(async () => {
    const before = Date.now();
    await wait(15);
    return Date.now() - before >= 10;
  }),
  "scheduler-wait": show(async () => await scheduler.wait(1)),
};
