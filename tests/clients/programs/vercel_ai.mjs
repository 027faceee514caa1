// Vercel's AI SDK.
// dependencies: ai @ai-sdk/openai-compatible zod
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateObject, generateText, Output, stepCountIs, streamObject, streamText, tool } from "ai";
import { z } from "zod";
import { assert, baseURL, model as name, run } from "./_steps.mjs";

const provider = createOpenAICompatible({ name: "ftllm-nb", baseURL, apiKey: "unused", supportsStructuredOutputs: true, includeUsage: true });
const plain = createOpenAICompatible({ name: "ftllm-nb", baseURL, apiKey: "unused" });
const model = provider.chatModel(name);
const prompt = "What is 17 + 25?";
const common = { model, prompt, maxRetries: 0, maxOutputTokens: 400, temperature: 0.7, seed: 1 };
const Person = z.object({ name: z.string().max(12), role: z.enum(["speaker", "guest"]) });
const Event = z.object({ title: z.string().max(12), people: z.array(Person).max(2), room: z.number().int().min(0).max(99).optional() });
const weather = tool({
  description: "The weather of a city.",
  inputSchema: z.object({ city: z.enum(["Paris", "Rome"]), days: z.number().int().min(1).max(7) }),
  execute: async ({ city, days }) => ({ city, days, weather: "sunny" }),
});

await run({
  async generateText() {
    const answer = await generateText({ ...common, system: "You are short.", maxOutputTokens: 20 });
    assert.ok(answer.text && ["stop", "length"].includes(answer.finishReason));
    assert.ok(answer.usage.outputTokens > 0);
  },
  async streamText() {
    const answer = streamText({ ...common, maxOutputTokens: 20, onError() {} });
    let text = "";
    for await (const part of answer.textStream) text += part;
    assert.ok(text && (await answer.usage).outputTokens > 0);
  },
  async tools() {
    const answer = await generateText({ ...common, tools: { weather }, toolChoice: "required", stopWhen: stepCountIs(1) });
    assert.equal(answer.toolCalls[0].toolName, "weather");
    assert.equal(answer.toolResults[0].output.weather, "sunny");
    assert.equal(answer.finishReason, "tool-calls");
  },
  async toolsThenAnswer() {
    const answer = await generateText({
      ...common, tools: { weather }, stopWhen: stepCountIs(2),
      prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? { type: "tool", toolName: "weather" } : "none" }),
    });
    assert.equal(answer.steps.length, 2);
    assert.equal(answer.steps[0].toolCalls.length, 1);
  },
  async streamedTools() {
    const answer = streamText({ ...common, tools: { weather }, toolChoice: "required", stopWhen: stepCountIs(1), onError() {} });
    const kinds = [];
    for await (const part of answer.fullStream) {
      if (part.type === "error") throw part.error;
      kinds.push(part.type);
    }
    assert.ok(kinds.includes("tool-call") && kinds.includes("tool-result"), kinds.join());
  },
  async generateObject() {
    const answer = await generateObject({ ...common, schema: Event });
    Event.parse(answer.object);
  },
  async generateArrayAndEnum() {
    const array = await generateObject({ ...common, output: "array", schema: Person.describe("one of at most two"), maxOutputTokens: 300 })
      .catch((error) => { if (error.finishReason === "length") return null; throw error; }); // a list has no end of its own
    if (array) array.object.forEach((each) => Person.parse(each));
    const kind = await generateObject({ ...common, output: "enum", enum: ["sum", "product"] });
    assert.ok(["sum", "product"].includes(kind.object));
  },
  async streamObject() {
    const answer = streamObject({ ...common, schema: Event, onError() {} });
    for await (const part of answer.partialObjectStream) assert.equal(typeof part, "object");
    Event.parse(await answer.object);
  },
  async outputOfText() {
    const answer = await generateText({ ...common, output: Output.object({ schema: Event }) });
    Event.parse(answer.output);
  },
  async jsonWithoutSchemas() { // what the SDK asks for where structured outputs are not announced: json_object
    const small = z.object({ answer: z.number() });
    await generateObject({ ...common, model: plain.chatModel(name), schema: small })
      .catch((error) => { if (error.name !== "AI_NoObjectGeneratedError") throw error; });
  },
  async completion() {
    const answer = await generateText({ model: provider.completionModel(name), prompt: "One, two,", maxOutputTokens: 4, maxRetries: 0 });
    assert.equal(typeof answer.text, "string");
  },
});
