// Says as JSON what Node's console makes of the cases.
import { Console } from "node:console";
import { Writable } from "node:stream";
import { cases } from "./cases.mjs";

let text = "";
const stdout = new Writable({
  write(chunk, _, done) {
    text += chunk;
    done();
  },
});
const console = new Console({ stdout, stderr: stdout });
const said = cases.map((args) => {
  text = "";
  console.log(...args);
  return text.slice(0, -1);
});
process.stdout.write(JSON.stringify(said));
