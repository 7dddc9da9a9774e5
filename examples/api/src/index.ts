import { Hono } from "hono";
import { books, type Book } from "./books";

interface Env {
  TITLE_LENGTH_MAX: number;
}

const app = new Hono<{ Bindings: Env }>();

app.get("/", (c) => c.json({ endpoints: ["GET /books", "GET /books/:id", "POST /books"] }));

app.get("/books", (c) => {
  const author = c.req.query("author");
  return c.json(author ? books.filter((book) => book.author === author) : books);
});

app.get("/books/:id{[0-9]+}", (c) => {
  const book = books.find((book) => book.id === Number(c.req.param("id")));
  return book ? c.json(book) : c.json({ error: "no such book" }, 404);
});

// Nothing is stored: the answer shows what would be.
app.post("/books", async (c) => {
  const body = await c.req.json<Partial<Book>>().catch(() => null);
  const problem = validate(body, c.env.TITLE_LENGTH_MAX);
  if (problem) return c.json({ error: problem }, 400);
  return c.json({ ...body, id: books.length + 1 }, 201);
});

app.notFound((c) => c.json({ error: `nothing at ${c.req.path}` }, 404));

function validate(body: Partial<Book> | null, longest: number): string | undefined {
  if (!body || typeof body !== "object") return "the body must be a JSON object";
  if (typeof body.title !== "string" || !body.title) return "title is missing";
  if (body.title.length > longest) return `title is longer than ${longest} characters`;
  if (typeof body.author !== "string" || !body.author) return "author is missing";
}

export default app;
