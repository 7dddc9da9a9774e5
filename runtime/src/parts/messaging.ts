/** `MessageChannel` and `MessagePort`. */
export { isMessagePort, MessageChannel, MessagePort } from "../messaging/port.ts";
