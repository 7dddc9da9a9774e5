/** `node:path`: packages made of Node's own code. */
import path from "@chainner/node-path";

const posix = path.posix;
const win32 = path.win32;
// Newer than the package.
posix.toNamespacedPath ??= (value: string) => value;
posix.posix = win32.posix = posix;
posix.win32 = win32.win32 = win32;

export const modules = { "node:path": posix, "node:path/posix": posix, "node:path/win32": win32 };
