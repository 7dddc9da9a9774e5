import page from "./page.html";

const html = { "content-type": "text/html; charset=utf-8" };

export default {
  fetch(request: Request): Response {
    const { pathname } = new URL(request.url);
    if (request.method !== "GET" && request.method !== "HEAD") {
      return new Response("Method not allowed\n", { status: 405, headers: { allow: "GET, HEAD" } });
    }
    if (pathname !== "/") {
      return new Response("Not found\n", { status: 404 });
    }
    return new Response(page, { headers: { ...html, "cache-control": "public, max-age=300" } });
  },
};
