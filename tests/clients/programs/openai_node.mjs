// OpenAI's JavaScript client.
// dependencies: openai zod
import OpenAI from "openai";
import { zodFunction, zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import { assert, baseURL, model, run } from "./_steps.mjs";

const client = new OpenAI({ baseURL, apiKey: "unused", maxRetries: 0 });
const messages = [{ role: "user", content: "What is 17 + 25?" }];
const Person = z.object({ name: z.string().max(12), role: z.enum(["speaker", "guest"]) });
const Event = z.object({ title: z.string().max(12), people: z.array(Person).max(2), room: z.number().int().min(0).max(99).nullable() });
const Weather = z.object({ city: z.enum(["Paris", "Rome"]), days: z.number().int().min(1).max(7) });
const tools = [zodFunction({ name: "weather", description: "The weather of a city.", parameters: Weather })];

await run({
  async models() {
    const ids = [];
    for await (const each of client.models.list()) ids.push(each.id);
    assert.ok(ids.includes(model));
  },
  async chat() {
    const answer = await client.chat.completions.create({ model, messages, max_completion_tokens: 20, temperature: 0 });
    assert.ok(answer.choices[0].message.content);
    assert.ok(answer.usage.completion_tokens > 0);
  },
  async stream() {
    const stream = await client.chat.completions.create({
      model, messages, max_tokens: 20, stream: true, stream_options: { include_usage: true },
    });
    let text = "", usage = null;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta?.content ?? "";
      usage = chunk.usage ?? usage;
    }
    assert.ok(text && usage.completion_tokens > 0);
  },
  async aborted() {
    const stream = await client.chat.completions.create({ model, messages, max_tokens: 200, stream: true });
    for await (const chunk of stream) {
      assert.equal(chunk.object, "chat.completion.chunk");
      break; // closes the connection
    }
  },
  async forcedCall() {
    const answer = await client.chat.completions.create({ model, messages, tools, tool_choice: "required", max_tokens: 200 });
    const [call] = answer.choices[0].message.tool_calls;
    Weather.parse(JSON.parse(call.function.arguments));
    assert.equal(answer.choices[0].finish_reason, "tool_calls");
  },
  async runTools() {
    let called = 0;
    const runner = client.chat.completions.runTools({
      model, messages, max_tokens: 200, tool_choice: { type: "function", function: { name: "weather" } },
      tools: [{ type: "function", function: {
        name: "weather", description: "The weather of a city.", parse: JSON.parse,
        parameters: { type: "object", properties: { city: { type: "string", enum: ["Paris", "Rome"] } }, required: ["city"], additionalProperties: false },
        function: ({ city }) => { called += 1; assert.ok(["Paris", "Rome"].includes(city)); return "sunny"; },
      } }],
    }, { maxChatCompletions: 2 });
    await runner.done();
    assert.ok(called > 0);
  },
  async parsedAnswer() {
    const answer = await client.chat.completions.parse({
      model, messages, max_tokens: 400, response_format: zodResponseFormat(Event, "event"),
    });
    Event.parse(answer.choices[0].message.parsed);
  },
  async streamedParsedAnswer() {
    const stream = client.chat.completions.stream({
      model, messages, max_tokens: 400, response_format: zodResponseFormat(Event, "event"),
    });
    const final = await stream.finalChatCompletion();
    Event.parse(final.choices[0].message.parsed);
  },
  async completions() {
    const answer = await client.completions.create({ model, prompt: "One, two,", max_tokens: 4 });
    assert.equal(typeof answer.choices[0].text, "string");
  },
});
