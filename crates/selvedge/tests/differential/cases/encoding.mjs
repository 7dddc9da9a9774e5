import { attempt, bytes, hex, show, text } from "./show.mjs";

export default {
  "encode": show(() => [hex(bytes("aä€😀")), hex(bytes("\ud800x")), bytes().length]),
  "encode-into": show(() => {
    const target = new Uint8Array(5);
    const result = new TextEncoder().encodeInto("a€😀", target);
    return [result, hex(target)];
  }),
  "decode": show(() => [text(new Uint8Array([0xef, 0xbb, 0xbf, 0x61])), text(new Uint8Array([0xff, 0xc0, 0x80, 0x61])), new TextDecoder().decode()]),
  "decode-fatal": show(() => attempt(() => new TextDecoder("utf-8", { fatal: true }).decode(new Uint8Array([0xff])))),
  "decode-bom": show(() => new TextDecoder("utf-8", { ignoreBOM: true }).decode(new Uint8Array([0xef, 0xbb, 0xbf, 0x61])).length),
  "decode-stream": show(() => {
    const decoder = new TextDecoder();
    return [decoder.decode(new Uint8Array([0xe2, 0x82]), { stream: true }), decoder.decode(new Uint8Array([0xac]), { stream: true }), decoder.decode()];
  }),
  "utf-16": show(() => [
    new TextDecoder("utf-16le").decode(new Uint8Array([0x61, 0, 0xac, 0x20])),
    new TextDecoder("utf-16be").decode(new Uint8Array([0, 0x61, 0x20, 0xac])),
  ]),
  "windows-1252": show(() => [new TextDecoder("latin1").encoding, new TextDecoder("latin1").decode(new Uint8Array([0x80, 0xe9, 0x99]))]),
  "labels": show(() => ["utf8", "UTF-8", "ascii", "iso-8859-1", "sjis", "gbk", "big5", "euc-kr", "koi8-r"].map((label) => new TextDecoder(label).encoding)),
  "shift-jis": show(() => new TextDecoder("shift_jis").decode(new Uint8Array([0x93, 0xfa, 0x96, 0x7b]))),
  "bad-label": show(() => attempt(() => new TextDecoder("nonsense"))),
  "sources": show(() => [
    text(new DataView(bytes("view").buffer, 1, 2)),
    text(bytes("buffer").buffer),
    text(new Uint16Array([0x6261])),
  ]),
  "atob": show(async () => {
    const out = [];
    for (const value of ["YQ==", "YQ", " Y Q ", "", "Y", "YQ=", "ä", "YWI=="]) out.push(await attempt(() => atob(value)));
    return out;
  }),
  "btoa": show(async () => [btoa("a\xff"), await attempt(() => btoa("€")), btoa(""), btoa(null)]),
  "encoder-stream": show(async () => await new Response(new Blob(["ä€"]).stream().pipeThrough(new TextDecoderStream()).pipeThrough(new TextEncoderStream())).text()),
  "base64-of-bytes": show(() => [new Uint8Array([1, 2, 255]).toBase64?.() ?? "none", Uint8Array.fromHex?.("0aff").join() ?? "none"]),
};
