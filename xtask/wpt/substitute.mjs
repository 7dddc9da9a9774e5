// The `{{…}}` of files named `*.sub.*`: addresses of the origin, and parts of the request.
import { randomUUID } from "node:crypto";

/** Fills the templates in; `request` has `url` (a `URL`) and `headers` when a file is served. */
export function substitute(text, { host, ports }, { url, headers }) {
  const other = "127.0.0.1";
  const variables = {};
  return text.replace(/\{\{([^{}]*)\}\}/g, (whole, expression) => {
    let inner = expression.trim();
    const assigned = /^\$(\w+):(.*)$/.exec(inner);
    if (assigned !== null) inner = assigned[2];
    const value = (() => {
      let match;
      if (inner === "host") return host;
      if (inner === "uuid()") return randomUUID();
      if (/^\$\w+$/.test(inner)) return variables[inner.slice(1)];
      if ((match = /^ports\[(\w+)\]\[(\d)\]$/.exec(inner))) return String(ports[match[1]]?.[match[2]] ?? 1);
      if (/^domains\[\]$|^hosts\[\]\[\]$/.test(inner)) return host;
      if (/^(domains|hosts)\[/.test(inner)) return other;
      if ((match = /^GET\[([^\]]*)\]$/.exec(inner))) return url?.searchParams.get(match[1]) ?? "";
      if ((match = /^headers\[([^\]]*)\]$/.exec(inner))) return headers?.[match[1].toLowerCase()] ?? "";
      if ((match = /^header_or_default\(([^,]*),\s*([^)]*)\)$/.exec(inner))) return headers?.[match[1].toLowerCase()] ?? match[2];
      if ((match = /^location\[(\w+)\]$/.exec(inner)) && url !== undefined) {
        return { server: url.origin, scheme: "http", host: url.hostname, hostname: url.hostname, port: url.port, path: url.pathname }[match[1]];
      }
      return undefined;
    })();
    if (value === undefined) return whole;
    if (assigned !== null) variables[assigned[1]] = value;
    return value;
  });
}
