// Methods whose messages are bytes.
const bytes = (value) => value;
const method = (name, requestStream, responseStream) => ({
  path: `/test.Test/${name}`,
  requestStream,
  responseStream,
  requestSerialize: bytes,
  requestDeserialize: bytes,
  responseSerialize: bytes,
  responseDeserialize: bytes,
});
export const service = {
  Once: method("Once", false, false),
  Sum: method("Sum", true, false),
  Count: method("Count", false, true),
  Talk: method("Talk", true, true),
  Fail: method("Fail", false, false),
  Wait: method("Wait", false, false),
  Canceled: method("Canceled", false, false),
};
