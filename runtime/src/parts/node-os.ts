/** `node:os` and `node:constants`: what a worker may know of the machine, which is nothing. */
const signals = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGKILL: 9, SIGTERM: 15 };
const errno = { EACCES: 13, EADDRINUSE: 98, ECONNREFUSED: 111, ECONNRESET: 104, EEXIST: 17, EINVAL: 22, ENOENT: 2, ENOTSUP: 95, EPERM: 1, EPIPE: 32, ETIMEDOUT: 110 };

const os = {
  EOL: "\n",
  devNull: "/dev/null",
  constants: { signals, errno, priority: {}, dlopen: {}, UV_UDP_REUSEADDR: 4 },
  arch: () => "x64",
  availableParallelism: () => 1,
  cpus: () => [],
  endianness: () => "LE",
  freemem: () => 0,
  totalmem: () => 0,
  getPriority: () => 0,
  homedir: () => "/",
  hostname: () => "localhost",
  loadavg: () => [0, 0, 0],
  machine: () => "x86_64",
  networkInterfaces: () => ({}),
  platform: () => "linux",
  release: () => "",
  tmpdir: () => "/tmp",
  type: () => "Linux",
  uptime: () => 0,
  userInfo: () => ({ uid: -1, gid: -1, username: "worker", homedir: "/", shell: null }),
  version: () => "",
};

export const modules = { "node:os": os, "node:constants": { ...errno, ...signals } };
