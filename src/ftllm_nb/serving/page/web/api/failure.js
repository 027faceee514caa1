// What can go wrong between this page and the server: a kind, by which the page knows what to offer, and a sentence.

export class Failure extends Error {
  constructor(kind, message, status = 0) {
    super(message);
    this.kind = kind;
    this.status = status;
  }
}

const KIND_OF_CODE = {
  context_length_exceeded: "overflow",
  invalid_api_key: "key",
  queue_full: "busy",
  cache_full: "busy",
  loading: "loading",
  closing: "closing",
};
const KIND_OF_STATUS = { 401: "key", 413: "large", 429: "busy", 502: "connection", 503: "busy", 504: "time" };

// From the body of an error in OpenAI's form; `status` is 200 for one that came in the middle of a stream.
export function failureOf(status, body) {
  const error = body?.error ?? {};
  const kind = KIND_OF_CODE[error.code] ?? KIND_OF_STATUS[status] ?? (status >= 500 || status === 200 ? "server" : "request");
  return new Failure(kind, sentence(error.message ?? `the server answered with status ${status}.`), status);
}

export function connectionLost() {
  return new Failure("connection", "The connection to the server was lost. It may have ended, or be out of reach.");
}

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
