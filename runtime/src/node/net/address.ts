/** Addresses in text. */
import { parseHref } from "../../url/url.ts";

const BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
const IPV4 = new RegExp(`^(?:${BYTE}\\.){3}${BYTE}$`);
/** RFC 4007, section 11: what follows `%` names a zone. */
const IPV6 = /^([0-9A-Fa-f:.]+)(?:%[0-9A-Za-z.:_-]+)?$/;

export const isIPv4 = (text: unknown): boolean => IPV4.test(`${text as string}`);

export function isIPv6(text: unknown): boolean {
  const parts = IPV6.exec(`${text as string}`);
  return parts !== null && parts[1]!.includes(":") && parseHref(`http://[${parts[1]}]/`) !== undefined;
}

export const isIP = (text: unknown): number => (isIPv4(text) ? 4 : isIPv6(text) ? 6 : 0);

/** The host and the port of `host:port`, an IPv6 address in brackets; the port may be missing. */
export function splitAddress(text: string | undefined): [string | undefined, number | undefined] {
  const parts = /^(?:\[([^\]]+)\]|([^:]+)):([0-9]+)$/.exec(text ?? "");
  return parts === null ? [text, undefined] : [parts[1] ?? parts[2], Number(parts[3])];
}
