/** `navigator`. */
import { expose, finishInterface, illegalConstructor, INTERNAL } from "./internal/webidl.ts";

export class Navigator {
  constructor(token?: unknown) {
    illegalConstructor(token);
  }
  get userAgent(): string {
    return "Selvedge";
  }
  get language(): string {
    return "en-US";
  }
  get languages(): readonly string[] {
    return Object.freeze(["en-US"]);
  }
  get hardwareConcurrency(): number {
    return 1;
  }
}
finishInterface(Navigator, "Navigator");

export function installNavigator(): void {
  expose("Navigator", Navigator);
  expose("navigator", new Navigator(INTERNAL));
}
