/** Builds the global object and hands the host its entry points. Runs once, when the startup snapshot is made. */
import { deliverEntry, installGlobals } from "./globals.ts";

installGlobals();
deliverEntry();
