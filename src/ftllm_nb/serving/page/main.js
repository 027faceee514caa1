// The page: composer, conversation, settings, and the answer that is being made.

import { Conversation } from "./conversation.js";
import { ExchangeView, isSend } from "./exchange.js";
import { Settings } from "./settings.js";
import { ServerError, about, streamChat } from "./stream.js";
import { themeButton } from "./theme.js";

const $ = (id) => document.getElementById(id);
const NEAR_THE_END = 80; // pixels: who reads further up is not pulled down

const conversation = new Conversation();
const settings = new Settings($("settings"));
let views = [];
let model = null; // what /page/about says, once the model is loaded
let running = null; // AbortController of the answer that is being made

themeButton($("theme"));
render();
composerGrows();
waitForModel();

async function waitForModel() {
  for (;;) {
    try {
      const found = await about();
      $("version").textContent = `ftllm-nb ${found.version}`;
      if (found.ready) {
        model = found;
        $("model").textContent = `${found.name} · ${found.weights} · ${found.context.toLocaleString("en")} tokens`;
        settings.showDefaults(found.defaults);
        showCounts(conversation.last);
        return;
      }
      $("model").textContent = `${found.name} · loading …`;
    } catch (error) {
      $("model").textContent = error.message;
    }
    await new Promise((done) => setTimeout(done, 1000));
  }
}

function render() {
  const log = $("conversation");
  for (const view of views) view.element.remove();
  views = conversation.exchanges.map((exchange, index) => new ExchangeView(exchange, {
    retry: () => send(exchange.question, index),
    edit: (text) => send(text, index),
    undo: () => {
      setQuestion(conversation.undo());
      conversation.keep();
      render();
    },
  }));
  log.append(...views.map((view) => view.element));
  $("empty").hidden = views.length > 0;
  showCounts(conversation.last);
  scrollToEnd();
}

/** Ask, in place of the exchange at `index` and all after it. */
async function send(question, index = conversation.exchanges.length) {
  if (running) return;
  if (settings.mistake) {
    openSettings(true);
    settings.showMistake(settings.mistake);
    return;
  }
  const exchange = conversation.ask(question, index, Boolean(model?.begins_thinking));
  render();
  const view = views.at(-1);
  running = new AbortController();
  showRunning();
  const body = { ...settings.given, messages: conversation.messages(settings.system) };
  let frame = 0;
  const draw = () => {
    frame = 0;
    const follows = isAtEnd();
    view.update();
    showCounts(conversation.last);
    if (follows) scrollToEnd();
  };
  try {
    for await (const chunk of streamChat(body, running.signal)) {
      hear(exchange, chunk);
      frame ||= requestAnimationFrame(draw);
    }
  } catch (error) {
    if (error.name === "AbortError") exchange.stopped = true;
    else exchange.error = error instanceof ServerError ? error.message : `The page failed: ${error.message}.`;
  } finally {
    cancelAnimationFrame(frame);
    exchange.running = false;
    running = null;
    conversation.end();
    draw();
    showRunning();
  }
}

function hear(exchange, chunk) {
  const choice = chunk.choices[0];
  exchange.answer += choice?.delta?.content ?? "";
  if (choice?.finish_reason === "length") exchange.note = "Ended at the longest length";
  const now = performance.now();
  if (chunk.usage?.completion_tokens && !exchange.firstAt) exchange.firstAt = now;
  if (chunk.usage) {
    const { prompt_tokens: prompt, completion_tokens: answer } = chunk.usage;
    const seconds = (now - exchange.firstAt) / 1000;
    exchange.counts = { prompt, answer, speed: answer > 1 && seconds > 0 ? (answer - 1) / seconds : 0 };
  }
  if (chunk.timings) exchange.counts = { ...exchange.counts, speed: chunk.timings.predicted_per_second, timings: chunk.timings };
}

function showCounts(exchange) {
  const counts = exchange?.counts;
  const used = counts ? counts.prompt + counts.answer : 0;
  $("used").textContent = model && counts ? `${used.toLocaleString("en")} of ${model.context.toLocaleString("en")} tokens` : "";
  $("fill").hidden = !(model && counts);
  $("fill").value = model ? used / model.context : 0;
  const times = counts?.timings;
  const prompt = times ? `, prompt ${times.prompt_n + times.cache_n} tokens (${times.cache_n} known) in ${seconds(times.prompt_ms)}` : "";
  $("speed").textContent = counts?.speed ? `${counts.speed.toFixed(1)} tokens/s${prompt}` : "";
}

function seconds(milliseconds) {
  return milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}

function showRunning() {
  $("send").hidden = Boolean(running);
  $("stop").hidden = !running;
  document.body.classList.toggle("answering", Boolean(running));
}

function isAtEnd() {
  const log = $("conversation");
  return log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_THE_END;
}

function scrollToEnd() {
  $("conversation").scrollTop = $("conversation").scrollHeight;
}

function setQuestion(text) {
  $("question").value = text;
  composerGrows();
  $("question").focus();
}

function composerGrows() {
  const box = $("question");
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight}px`;
}

function openSettings(open) {
  $("settings").hidden = !open;
  $("open-settings").setAttribute("aria-expanded", open);
  if (open) settings.form.elements.system.focus();
}

function stop() {
  running?.abort();
}

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const question = $("question").value;
  if (running || !question.trim()) return;
  if (!settings.mistake) setQuestion("");
  send(question);
});
$("question").addEventListener("input", composerGrows);
$("question").addEventListener("keydown", (event) => {
  if (!isSend(event)) return;
  event.preventDefault();
  $("composer").requestSubmit();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  if (running) stop();
  else if (!$("settings").hidden) openSettings(false);
});
$("stop").addEventListener("click", stop);
$("new").addEventListener("click", () => {
  stop();
  conversation.forget();
  render();
  $("question").focus();
});
$("open-settings").addEventListener("click", () => openSettings($("settings").hidden));
$("close-settings").addEventListener("click", () => openSettings(false));
// What was answered before a reload stays: the answer itself ends with its connection.
addEventListener("pagehide", () => conversation.keep());
