// Asks the server's OpenAI endpoint, and yields the chunks of its answer.

export class ServerError extends Error {}

const LOST = "The connection to the server was lost before the answer ended.";

/** Yield chat.completion.chunk objects; throws ServerError with a sentence, AbortError where `signal` says so. */
export async function* streamChat(body, signal) {
  const response = await ask("v1/chat/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...body, stream: true,
      stream_options: { include_usage: true, continuous_usage_stats: true } }),
    signal,
  });
  let held = "";
  for await (const text of pieces(response.body, signal)) {
    const events = (held + text).split("\n\n");
    held = events.pop();
    for (const event of events) {
      if (event === "data: [DONE]") return;
      if (!event.startsWith("data: ")) continue; // a comment: the server is still there
      const data = JSON.parse(event.slice("data: ".length));
      if (data.error) throw new ServerError(sentence(data.error.message));
      yield data;
    }
  }
  throw new ServerError(LOST);
}

/** What the server says of its model. */
export async function about() {
  return (await ask("page/about", {})).json();
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError("The server cannot be reached: is it still running?");
  }
  if (response.ok) return response;
  let message;
  try {
    message = sentence((await response.json()).error.message);
  } catch {
    message = `The server answered with status ${response.status}.`;
  }
  throw new ServerError(message);
}

async function* pieces(stream, signal) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      yield value;
    }
  } catch (error) {
    if (signal.aborted) throw new DOMException("stopped", "AbortError");
    throw error instanceof ServerError ? error : new ServerError(LOST);
  } finally {
    reader.cancel().catch(() => {});
  }
}

function sentence(message) {
  return message.charAt(0).toUpperCase() + message.slice(1);
}
