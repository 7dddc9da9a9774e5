// Calls the server of server.mjs through what is at ADDRESS. `node client.mjs ADDRESS NAME [CA]`; ends with 0 when all was well.
import assert from "node:assert";
import { readFileSync } from "node:fs";
import grpc from "@grpc/grpc-js";
import { service } from "./service.mjs";

const [address, name, ca] = process.argv.slice(2);
const credentials = ca ? grpc.credentials.createSsl(readFileSync(ca)) : grpc.credentials.createInsecure();
const Client = grpc.makeGenericClientConstructor(service, "Test");
const client = new Client(address, credentials, {
  "grpc.default_authority": name,
  "grpc.ssl_target_name_override": name,
  "grpc.max_receive_message_length": -1,
});
const text = (value) => Buffer.from(value);

// One message each way, with metadata before and behind it.
function once(message) {
  return new Promise((resolve, reject) => {
    const metadata = new grpc.Metadata();
    metadata.set("x-said", "hello");
    const seen = {};
    const call = client.Once(message, metadata, (error, answer) => {
      if (error) return reject(error);
      seen.answer = answer;
    });
    call.on("metadata", (answer) => (seen.heard = answer.get("x-heard")[0]));
    call.on("status", (status) => {
      seen.code = status.code;
      seen.length = status.metadata.get("x-length")[0];
      seen.raw = status.metadata.get("x-raw-bin")[0];
      resolve(seen);
    });
  });
}
for (const length of [0, 1, 70_000, 3_000_000]) {
  const message = Buffer.alloc(length, "m");
  const seen = await once(message);
  assert.deepEqual([seen.code, seen.heard, seen.length], [0, "hello", String(length)]);
  assert.deepEqual([...seen.raw], [0, 255, 10]);
  assert.ok(seen.answer.equals(message));
}

// Many at once, on one connection.
await Promise.all(Array.from({ length: 100 }, (_, n) => once(text(String(n)))));

// A stream to the server.
const sum = await new Promise((resolve, reject) => {
  const call = client.Sum((error, answer) => (error ? reject(error) : resolve(String(answer))));
  for (let n = 0; n < 50; n++) call.write(Buffer.alloc(10_000, "s"));
  call.end();
});
assert.equal(sum, "500000");

// A stream from the server.
const counted = await new Promise((resolve, reject) => {
  const parts = [];
  const call = client.Count(text("1000"));
  call.on("data", (part) => parts.push(Number(part)));
  call.on("error", reject);
  call.on("end", () => resolve(parts));
});
assert.deepEqual(counted, Array.from({ length: 1000 }, (_, n) => n));

// Both ways: each message is sent after the answer to the one before.
await new Promise((resolve, reject) => {
  const call = client.Talk();
  let n = 0;
  call.on("data", (part) => {
    assert.equal(String(part), `re: ${n}`);
    n += 1;
    if (n === 20) call.end();
    else call.write(text(String(n)));
  });
  call.on("error", reject);
  call.on("end", resolve);
  call.write(text("0"));
});

// Errors, as trailers without a message.
const failed = await new Promise((resolve) => client.Fail(text(""), (error) => resolve(error)));
assert.deepEqual([failed.code, failed.details], [grpc.status.FAILED_PRECONDITION, "not now: 100 % ü"]);
assert.equal(failed.metadata.get("x-why")[0], "because");
const unknown = new Client(address, credentials, {
  "grpc.default_authority": `not-${name}`,
  "grpc.ssl_target_name_override": name,
});
const refused = await new Promise((resolve) => unknown.Once(text(""), (error) => resolve(error)));
assert.ok(refused.code !== undefined && refused.code !== 0);

// Calls that are given up end at the server, too.
for (let n = 0; n < 5; n++) {
  const late = await new Promise((resolve) => {
    client.Wait(text(""), { deadline: Date.now() + 200 }, (error) => resolve(error));
  });
  assert.equal(late.code, grpc.status.DEADLINE_EXCEEDED);
}
for (let canceled = -1; canceled !== 5; ) {
  canceled = Number(await new Promise((resolve) => client.Canceled(text(""), (_, count) => resolve(count))));
}
client.close();
unknown.close();
