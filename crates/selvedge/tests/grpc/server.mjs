// A gRPC server whose messages are bytes. `node server.mjs PORT [CA CERTIFICATE KEY]`; with files it asks clients for a certificate.
import { readFileSync } from "node:fs";
import grpc from "@grpc/grpc-js";
import { service } from "./service.mjs";

const [port, ...files] = process.argv.slice(2);
let canceled = 0;
const server = new grpc.Server({ "grpc.max_receive_message_length": -1 });
server.addService(service, {
  Once(call, done) {
    const answer = new grpc.Metadata();
    answer.set("x-heard", call.metadata.get("x-said")[0] ?? "nothing");
    call.sendMetadata(answer);
    const trailer = new grpc.Metadata();
    trailer.set("x-length", String(call.request.length));
    trailer.set("x-raw-bin", Buffer.from([0, 255, 10]));
    done(null, call.request, trailer);
  },
  Sum(call, done) {
    let length = 0;
    call.on("data", (part) => (length += part.length));
    call.on("end", () => done(null, Buffer.from(String(length))));
  },
  Count(call) {
    for (let n = 0; n < Number(call.request); n++) call.write(Buffer.from(String(n)));
    call.end();
  },
  Talk(call) {
    call.on("data", (part) => call.write(Buffer.concat([Buffer.from("re: "), part])));
    call.on("end", () => call.end());
  },
  Fail(_call, done) {
    const metadata = new grpc.Metadata();
    metadata.set("x-why", "because");
    done({ code: grpc.status.FAILED_PRECONDITION, details: "not now: 100 % ü", metadata });
  },
  Wait(call) {
    call.on("cancelled", () => (canceled += 1));
  },
  Canceled(_call, done) {
    done(null, Buffer.from(String(canceled)));
  },
});
const [ca, certificate, key] = files.map((file) => readFileSync(file));
const credentials = ca
  ? grpc.ServerCredentials.createSsl(ca, [{ private_key: key, cert_chain: certificate }], true)
  : grpc.ServerCredentials.createInsecure();
server.bindAsync(`127.0.0.1:${port}`, credentials, (error) => {
  if (error) throw error;
});
