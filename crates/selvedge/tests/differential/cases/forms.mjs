import { attempt, bytes, show } from "./show.mjs";

const read = async (blob) => [blob.size, blob.type, await blob.text()];

export default {
  "blob-parts": show(() => read(new Blob(["a", bytes("b"), bytes("c").buffer, new Blob(["d"]), 5, null], { type: "Text/Plain" }))),
  "blob-slice": show(async () => {
    const blob = new Blob(["0123456789"], { type: "a/b" });
    return [await read(blob.slice(2, 5)), await read(blob.slice(-3)), await read(blob.slice(5, 2, "c/d")), await read(blob.slice())];
  }),
  "blob-endings": show(async () => await new Blob(["a\nb\r\nc"], { endings: "transparent" }).text()),
  "blob-bad": show(async () => [await attempt(() => new Blob("text")), await attempt(() => new Blob(null)), await attempt(() => new Blob([], { type: "ä" }).type)]),
  "blob-readers": show(async () => [(await new Blob(["abc"]).arrayBuffer()).byteLength, [...(await new Blob(["ab"]).bytes())]]),
  "blob-stream": show(async () => {
    let text = "";
    for await (const chunk of new Blob(["stream"]).stream()) text += new TextDecoder().decode(chunk);
    return text;
  }),
  "file": show(async () => {
    const file = new File(["x"], "name.txt", { type: "text/plain", lastModified: 5 });
    return [file.name, file.lastModified, file instanceof Blob, await read(file)];
  }),
  "form-methods": show(() => {
    const form = new FormData();
    form.append("a", "1");
    form.append("a", 2);
    form.set("b", "3");
    form.set("a", "4");
    form.append("c", "5");
    form.delete("b");
    return [[...form], form.get("a"), form.getAll("c"), form.has("b"), form.get("none")];
  }),
  "form-files": show(async () => {
    const form = new FormData();
    form.append("f", new Blob(["x"], { type: "a/b" }));
    form.append("g", new Blob(["y"]), "other.bin");
    form.append("h", new File(["z"], "h.txt"));
    return await Promise.all([...form].map(async ([name, file]) => [name, file.name, file instanceof File, await read(file)]));
  }),
  "form-round-trip": show(async () => {
    const form = new FormData();
    form.append("plain", "value with \r\n lines");
    form.append('qu"ote', "ä€");
    form.append("file", new File(["content"], "a b.txt", { type: "text/x" }));
    const back = await new Response(form).formData();
    const file = back.get("file");
    return [back.get("plain"), back.get('qu"ote'), file.name, file.type, await file.text()];
  }),
  "form-content-type": show(() => new Response(new FormData()).headers.get("content-type").startsWith("multipart/form-data; boundary=")),
  "urlencoded": show(async () => {
    const form = await new Response("a=1&a=2&=x&b&%F0%9F%98%80=%ff", {
      headers: { "content-type": "application/x-www-form-urlencoded;charset=UTF-8" },
    }).formData();
    return [...form];
  }),
  "broken-multipart": show(async () => {
    const out = [];
    for (const body of ["", "--X", "--X\r\n", "--X--", "--X--\r\n", "junk", '--X\r\nContent-Disposition: form-data\r\n\r\nx\r\n--X--\r\n']) {
      const response = new Response(body, { headers: { "content-type": "multipart/form-data; boundary=X" } });
      out.push(await attempt(async () => [...(await response.formData())]));
    }
    return out;
  }),
  "params": show(() => {
    const params = new URLSearchParams("?a=1&b=2&a=3&c=%20+");
    params.sort();
    params.delete("a", "1");
    return [`${params}`, params.size, params.has("a", "3"), params.has("a", "1"), params.getAll("a"), [...params]];
  }),
  "params-from": show(async () => [
    `${new URLSearchParams({ a: 1, b: "ä&=" })}`,
    `${new URLSearchParams([["x", "1"], ["x", "2"]])}`,
    `${new URLSearchParams(new Map([["m", "n"]]))}`,
    await attempt(() => new URLSearchParams([["a"]])),
  ]),
};
