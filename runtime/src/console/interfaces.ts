/** How the runtime's own interfaces look in `console.log`. */
import { ObjectDefineProperty, ReflectApply } from "../internal/primordials.ts";
import { AbortSignal } from "../dom/abort.ts";
import { Event } from "../dom/event.ts";
import { Blob, File } from "../fetch/blob.ts";
import { FormData } from "../fetch/form-data.ts";
import { Headers } from "../fetch/headers.ts";
import { Request } from "../fetch/request.ts";
import { Response } from "../fetch/response.ts";
import { URLSearchParams } from "../url/search-params.ts";
import { URL } from "../url/url.ts";
import { inspectable } from "./inspect.ts";

/** Shown by these attributes. */
function byAttributes(prototype: object, names: readonly string[]): void {
  inspectable(prototype, (value) => {
    const shown: Record<string, unknown> = {};
    for (let i = 0; i < names.length; i++) shown[names[i]!] = (value as Record<string, unknown>)[names[i]!];
    return shown;
  });
}

/** Shown by their names and values. */
function byEntries<T extends object>(prototype: T): void {
  const { forEach } = prototype as { forEach(callback: (value: unknown, name: string) => void): void };
  inspectable(prototype, (value) => {
    const shown: Record<string, unknown> = {};
    ReflectApply(forEach, value, [
      (item: unknown, name: string) => {
        const present = Object.hasOwn(shown, name);
        const next = present ? [shown[name], item].flat() : item;
        ObjectDefineProperty(shown, name, { value: next, enumerable: true, configurable: true });
      },
    ]);
    return shown;
  });
}

export function describeInterfaces(): void {
  byAttributes(Request.prototype, ["method", "url", "headers", "redirect", "bodyUsed"]);
  byAttributes(Response.prototype, ["status", "statusText", "headers", "bodyUsed", "ok", "redirected", "type", "url"]);
  byAttributes(URL.prototype, [
    "href", "origin", "protocol", "username", "password", "host", "hostname", "port", "pathname", "search",
    "searchParams", "hash",
  ]);
  byAttributes(Blob.prototype, ["size", "type"]);
  byAttributes(File.prototype, ["name", "size", "type", "lastModified"]);
  byAttributes(AbortSignal.prototype, ["aborted"]);
  byAttributes(Event.prototype, ["type", "defaultPrevented", "cancelable", "timeStamp"]);
  byEntries(Headers.prototype);
  byEntries(URLSearchParams.prototype);
  byEntries(FormData.prototype);
}
