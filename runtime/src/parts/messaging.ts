/** `MessageChannel` and `MessagePort`. */
export { MessageChannel, MessagePort } from "../messaging/port.ts";
