/** `util.parseArgs`. */
import { coded } from "../internal/node-errors.ts";

interface Option {
  type: "string" | "boolean";
  short?: string;
  multiple?: boolean;
  default?: unknown;
}
interface Config {
  args?: string[];
  options?: Record<string, Option>;
  strict?: boolean;
  allowPositionals?: boolean;
  allowNegative?: boolean;
  tokens?: boolean;
}
type Token =
  | { kind: "option"; name: string; rawName: string; index: number; value: string | undefined; inlineValue: boolean | undefined }
  | { kind: "positional"; index: number; value: string }
  | { kind: "option-terminator"; index: number };

const fail = (text: string, code: string) => coded(new TypeError(text), code);

export function parseArgs(config: Config = {}): object {
  const { args = [], options = {}, strict = true, allowPositionals = !strict, allowNegative = false } = config;
  const byShort = (short: string) => Object.keys(options).find((name) => options[name]!.short === short);
  const tokens: Token[] = [];
  const values: Record<string, unknown> = Object.create(null);
  const positionals: string[] = [];

  for (let index = 0; index < args.length; index++) {
    const arg = args[index]!;
    if (arg === "--") {
      tokens.push({ kind: "option-terminator", index });
      for (index++; index < args.length; index++) tokens.push({ kind: "positional", index, value: args[index]! });
    } else if (arg.startsWith("--")) {
      const equals = arg.indexOf("=");
      const name = equals < 0 ? arg.slice(2) : arg.slice(2, equals);
      const at = index;
      let value = equals < 0 ? undefined : arg.slice(equals + 1);
      const takes = options[name]?.type === "string" && value === undefined && args[index + 1] !== undefined;
      if (takes) value = args[++index];
      tokens.push({ kind: "option", name, rawName: `--${name}`, index: at, value, inlineValue: value === undefined ? undefined : !takes });
    } else if (arg.length > 1 && arg.startsWith("-")) {
      const at = index;
      for (let i = 1; i < arg.length; i++) {
        const name = byShort(arg[i]!) ?? arg[i]!;
        const rawName = `-${arg[i]}`;
        if (options[name]?.type !== "string") {
          tokens.push({ kind: "option", name, rawName, index: at, value: undefined, inlineValue: undefined });
          continue;
        }
        const rest = arg.slice(i + 1);
        const value = rest !== "" ? rest : args[index + 1] !== undefined ? args[++index] : undefined;
        tokens.push({ kind: "option", name, rawName, index: at, value, inlineValue: value === undefined ? undefined : rest !== "" });
        break;
      }
    } else {
      tokens.push({ kind: "positional", index, value: arg });
    }
  }

  for (const token of tokens) {
    if (token.kind === "option-terminator") continue;
    if (token.kind === "positional") {
      if (!allowPositionals) {
        throw fail(`Unexpected argument '${token.value}'. This command does not take positional arguments`, "ERR_PARSE_ARGS_UNEXPECTED_POSITIONAL");
      }
      positionals.push(token.value);
      continue;
    }
    let { name } = token;
    let value: unknown = token.value;
    if (allowNegative && value === undefined && name.startsWith("no-") && options[name] === undefined && options[name.slice(3)]?.type === "boolean") {
      name = name.slice(3);
      value = false;
    }
    const option = Object.hasOwn(options, name) ? options[name] : undefined;
    if (strict) check(token, name, option, allowPositionals, byShort);
    value ??= true;
    if (name === "__proto__") continue;
    if (option?.multiple) ((values[name] ??= []) as unknown[]).push(value);
    else values[name] = value;
  }
  for (const [name, option] of Object.entries(options)) {
    if (values[name] === undefined && option.default !== undefined) values[name] = option.default;
  }
  return config.tokens ? { values, positionals, tokens } : { values, positionals };
}

function check(token: Token & { kind: "option" }, name: string, option: Option | undefined, positionals: boolean, _short: unknown): void {
  const { rawName, value } = token;
  if (option === undefined) {
    const hint = positionals ? `. To specify a positional argument starting with a '-', place it at the end of the command after '--', as in '-- "${rawName}"` : "";
    throw fail(`Unknown option '${rawName}'${hint}`, "ERR_PARSE_ARGS_UNKNOWN_OPTION");
  }
  const shown = `${option.short ? `-${option.short}, ` : ""}--${name}`;
  if (option.type === "string" && value === undefined) {
    throw fail(`Option '${shown} <value>' argument missing`, "ERR_PARSE_ARGS_INVALID_OPTION_VALUE");
  }
  if (option.type === "boolean" && value !== undefined) {
    throw fail(`Option '${shown}' does not take an argument`, "ERR_PARSE_ARGS_INVALID_OPTION_VALUE");
  }
}
