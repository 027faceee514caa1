// The server's API, at the addresses beside the page. A key is sent with each request once it is known.
import { eventData } from "./events.js";
import { connectionLost, failureOf } from "./failure.js";

const KEY = "ftllm-nb key";
let key = sessionStorage.getItem(KEY) ?? "";

// Kept until the tab is closed, and for this tab alone.
export function useKey(text) {
  key = text.trim();
  sessionStorage.setItem(KEY, key);
}

export const about = () => json("page/about");

export const hasKey = () => key !== "";

// How many tokens the server makes of a text, or of a conversation.
export async function countTokens(what, signal) {
  return (await json("tokenize", what, signal)).count;
}

// The chunks of a streamed answer. Leaving the loop, or aborting `signal`, ends the answer at the server.
export async function* chatChunks(body, signal) {
  const response = await request("v1/chat/completions", { ...body, stream: true }, signal);
  let isWhole = false;
  try {
    for await (const data of eventData(response.body)) {
      if (data === "[DONE]") {
        isWhole = true;
        continue;
      }
      const chunk = JSON.parse(data);
      if (chunk.error) throw failureOf(200, chunk);
      yield chunk;
    }
  } catch (error) {
    throw error instanceof TypeError ? connectionLost() : error;
  }
  if (!isWhole) throw connectionLost();
}

async function json(path, body, signal) {
  return (await request(path, body, signal)).json();
}

async function request(path, body, signal) {
  const headers = key ? { authorization: `Bearer ${key}` } : {};
  const options = { headers, signal, cache: "no-store", credentials: "omit" };
  if (body) {
    Object.assign(options, { method: "POST", body: JSON.stringify(body) });
    headers["content-type"] = "application/json";
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    throw error.name === "AbortError" ? error : connectionLost();
  }
  if (!response.ok) throw failureOf(response.status, await response.json().catch(() => null));
  return response;
}
