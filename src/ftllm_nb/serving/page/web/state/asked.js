// From what is shown to what the model is asked with.
import { inFence } from "../text/fence.js";

// A question with the files that were attached to it.
export function questionText(message) {
  return [...(message.files ?? []).map((file) => `${file.name}:\n${inFence(file.text, file.name)}`), message.text]
    .filter((part) => part)
    .join("\n\n");
}

// The messages in OpenAI's form. Failures and thoughts are left out, and so are questions without an answer, but for
// the last one, since templates want turns. `from`: the id of the first question that is told, where it is on the path.
export function askedMessages(path, system = "", from = null) {
  const start = Math.max(path.findIndex(({ message }) => message.id === from), 0);
  const asked = system.trim() ? [{ role: "system", content: system }] : [];
  let question = null;
  for (const { message } of path.slice(start)) {
    if (message.role === "user") {
      question = { role: "user", content: questionText(message) };
    } else if (message.text.trim()) {
      if (question) asked.push(question);
      asked.push({ role: "assistant", content: message.text });
      question = null;
    }
  }
  return question ? [...asked, question] : asked;
}

// The questions among the messages of a path.
export const questions = (path) => path.map(({ message }) => message).filter((message) => message.role === "user");
