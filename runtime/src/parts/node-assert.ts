/** `node:assert`: the package `assert`. */
import process from "node:process";
import assert from "assert/build/assert.js";

void process;
assert.strict.strict = assert.strict;
assert.strict.AssertionError = assert.AssertionError;

export const modules = { "node:assert": assert, "node:assert/strict": assert.strict };
