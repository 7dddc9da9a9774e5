/** `tls.TLSSocket`: a connection that is encrypted from its beginning, or from some point on. */
import { unsupported, wrongType } from "../../internal/node-errors.ts";
import { arranged, type ConnectOptions, type Listener, Socket } from "./socket.ts";

/** Options whose neglect would be felt far from here. */
function checkOptions(options: ConnectOptions): void {
  for (const name of ["cert", "key", "pfx"]) {
    if (options[name]) throw unsupported(`The option ${name}`, "workers have no client certificates");
  }
}

export class TLSSocket extends Socket {
  encrypted = true;
  authorized = false;
  authorizationError: unknown = null;
  alpnProtocol = false;
  servername: string | undefined;

  constructor(socket?: Socket, options: ConnectOptions = {}) {
    super(options);
    checkOptions(options);
    this.once("connect", () => {
      // The platform verifies every certificate: there are no others.
      this.authorized = true;
      this.emit("secureConnect");
    });
    if (socket === undefined || socket === null) return;
    if (!(socket instanceof Socket)) throw wrongType("options.socket", "an instance of net.Socket", socket);
    this.servername = (options.servername as string | undefined) || options.host || socket.host;
    this.host = this.servername;
    this.remotePort = socket.remotePort;
    this.connecting = true;
    const upgrade = () => {
      const raw = socket.give();
      this.once("close", () => socket.destroy());
      this.take(raw.startTls({ expectedServerHostname: this.servername }), ["connect"]);
    };
    socket.once("error", (error: unknown) => this.destroy(error));
    if (socket.connecting) socket.once("connect", upgrade);
    else upgrade();
  }
  protected override transport(): string {
    return "on";
  }
  getPeerCertificate(): object {
    return {};
  }
  getProtocol(): null {
    return null;
  }
  getSession(): undefined {
    return undefined;
  }
  isSessionReused(): boolean {
    return false;
  }
}

export function connect(...args: unknown[]): TLSSocket {
  const [options, listener] = arranged(args);
  // After a port and a host there may be options, too.
  const more = args.find((one, i) => i > 0 && typeof one === "object" && one !== null) as ConnectOptions | undefined;
  const all = { ...options, ...more };
  const made = new TLSSocket(all.socket as Socket | undefined, all);
  if (listener) made.once("secureConnect", listener as Listener);
  if (!all.socket) {
    made.servername = (all.servername as string | undefined) || all.host;
    made.connect(all);
  }
  return made;
}

export function createSecureContext(options: ConnectOptions = {}): object {
  checkOptions(options);
  return { context: {} };
}
