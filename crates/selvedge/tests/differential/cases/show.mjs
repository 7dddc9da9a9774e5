// A case is a worker that shows one thing. What it returns, or the name of what it throws, becomes the answer.
export const show = (make, requests) => ({
  requests,
  async fetch(request, env, context) {
    let value;
    try {
      value = await make(request, env, context);
    } catch (error) {
      value = { threw: error?.name ?? String(error) };
    }
    return value instanceof Response ? value : Response.json(value === undefined ? "undefined" : value);
  },
});

/** The name of what a function throws, or what it gives. */
export const attempt = async (make) => {
  try {
    return await make();
  } catch (error) {
    return `threw ${error?.name}`;
  }
};

export const text = (bytes) => new TextDecoder().decode(bytes);
export const bytes = (string) => new TextEncoder().encode(string);
export const hex = (buffer) => [...new Uint8Array(buffer)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
export const unhex = (string) => new Uint8Array((string.match(/../g) ?? []).map((pair) => parseInt(pair, 16)));
