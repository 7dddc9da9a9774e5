import { AutoRouter, error, withContent } from "itty-router";

export const itty = AutoRouter({ base: "/itty" });
itty.get("/things/:id+", ({ params, query }) => ({ id: params.id, query }));
itty.post("/things", withContent, ({ content }) => ({ got: content }));
itty.get("/refused", () => error(403, "not for you"));
