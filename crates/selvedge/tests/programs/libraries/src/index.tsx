import { Hono } from "hono";
import { basicAuth } from "hono/basic-auth";
import { cors } from "hono/cors";
import { etag } from "hono/etag";
import { HTTPException } from "hono/http-exception";
import { secureHeaders } from "hono/secure-headers";
import { stream, streamSSE } from "hono/streaming";
import { z } from "zod";
import graphql from "./graphql";
import images from "./images";
import { itty } from "./itty";
import markdown from "./markdown";
import { tokens } from "./tokens";

const app = new Hono();
app.use("/hono/*", cors({ origin: "https://example.com" }), secureHeaders());
app.use("/hono/secret", basicAuth({ username: "me", password: "open sesame" }));
app.get("/hono/secret", (c) => c.text("treasure"));
app.get("/hono/page/:name", etag(), (c) =>
  c.html(
    <ul>
      {[c.req.param("name"), "<b>"].map((text) => (
        <li>{text}</li>
      ))}
    </ul>,
  ),
);
app.get("/hono/stream", (c) =>
  stream(c, async (out) => {
    for (let i = 0; i < 3; i++) {
      await out.writeln(`line ${i}`);
      await out.sleep(1);
    }
  }),
);
app.get("/hono/events", (c) =>
  streamSSE(c, async (out) => {
    for (let i = 0; i < 2; i++) await out.writeSSE({ event: "count", id: `${i}`, data: `${i * 10}` });
  }),
);
app.post("/hono/form", async (c) => c.json(await c.req.parseBody()));

const Book = z.object({
  title: z.string().min(2),
  year: z.coerce.number().int(),
  link: z.url().optional(),
  tags: z.array(z.string()).default([]),
});
app.post("/zod", async (c) => {
  const book = Book.safeParse(await c.req.json());
  return book.success ? c.json(book.data) : c.json(book.error.issues, 400);
});

app.all("/itty/*", (c) => itty.fetch(c.req.raw));
app.all("/graphql", (c) => graphql.fetch(c.req.raw));
app.get("/jose/:algorithm", async (c) => c.json(await tokens(c.req.param("algorithm"))));
app.route("/", images);
app.route("/", markdown);

app.notFound((c) => c.text("nothing here", 404));
app.onError((error, c) => error instanceof HTTPException ? error.getResponse() : c.text(`${error.name}: ${error.message}`, 500));
export default app;
