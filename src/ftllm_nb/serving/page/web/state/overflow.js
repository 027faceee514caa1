// When a conversation is longer than the model's context: which of its turns can still be told.
import { countTokens } from "../api/client.js";
import { askedMessages, questions } from "./asked.js";
import { retry } from "./answers.js";
import { leaveOutBefore, shownPath } from "./conversations.js";
import { notify } from "./notices.js";
import { state } from "./store.js";

const FREE = 0.25; // of the context, for the answer

// Leave out as few of the oldest turns as make room for an answer, and ask again.
export async function dropOldest(failed) {
  const place = shownPath().findIndex(({ message }) => message.id === failed.id);
  const path = shownPath().slice(0, place);
  for (const question of questions(path).slice(1)) {
    const messages = askedMessages(path, state.settings.system, question.id);
    if (await fits(messages)) {
      await leaveOutBefore(question);
      await retry(failed);
      return;
    }
  }
  notify("The last question alone is too long for the model's context: shorten it, or attach less.");
}

async function fits(messages) {
  try {
    return (await countTokens({ messages })) <= (1 - FREE) * state.about.context;
  } catch {
    return false; // what is far too long is refused
  }
}
