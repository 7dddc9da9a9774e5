const STEPS_MAX = 100;
const INTERVAL_MS = 200;

/** Answers with server-sent events, one every 200 ms, and stops when the client goes away. */
export default {
  fetch(request: Request): Response {
    const asked = Number(new URL(request.url).searchParams.get("steps") ?? 10);
    const steps = Math.min(Math.max(Math.trunc(asked) || 1, 1), STEPS_MAX);
    return new Response(countdown(steps), {
      headers: { "content-type": "text/event-stream", "cache-control": "no-store" },
    });
  },
};

function countdown(steps: number): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  let left = steps;
  let timer: number | undefined;
  return new ReadableStream({
    // Called only when the client has taken what was sent before.
    pull(controller) {
      return new Promise((resolve) => {
        timer = setTimeout(() => {
          controller.enqueue(encoder.encode(`data: ${left}\n\n`));
          left -= 1;
          if (left === 0) controller.close();
          resolve();
        }, left === steps ? 0 : INTERVAL_MS);
      });
    },
    cancel() {
      clearTimeout(timer);
      console.log(`the client left ${left} steps before the end`);
    },
  });
}
