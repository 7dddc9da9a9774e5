/** Forms as `multipart/form-data`. */
export { parseMultipart, serializeMultipart } from "../fetch/multipart.ts";
