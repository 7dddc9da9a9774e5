import { GraphQLError } from "graphql";
import { createSchema, createYoga } from "graphql-yoga";

const notes: { id: number; text: string }[] = [];

export default createYoga({
  logging: false,
  schema: createSchema({
    typeDefs: `
      type Note { id: Int!, text: String! }
      type Query { notes: [Note!]!, hello(name: String = "you"): String!, wrong: String, broken: String }
      type Mutation { add(text: String!): Note! }
      type Subscription { count(to: Int!): Int! }
    `,
    resolvers: {
      Query: {
        notes: () => notes,
        hello: (_: unknown, { name }: { name: string }) => `Hello, ${name}!`,
        wrong: () => {
          throw new GraphQLError("that is wrong", { extensions: { code: "WRONG" } });
        },
        broken: () => {
          throw new Error("a secret");
        },
      },
      Mutation: {
        add: (_: unknown, { text }: { text: string }) => {
          const note = { id: notes.length + 1, text };
          notes.push(note);
          return note;
        },
      },
      Subscription: {
        count: {
          async *subscribe(_: unknown, { to }: { to: number }) {
            for (let i = 1; i <= to; i++) {
              await new Promise((done) => setTimeout(done, 1));
              yield { count: i };
            }
          },
        },
      },
    },
  }),
});
