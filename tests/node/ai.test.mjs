// Vercel's AI SDK through the gateway: its providers for OpenAI, Anthropic and Google, OpenAI and Anthropic behind it.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { createOpenAI } from "@ai-sdk/openai";
import { APICallError, Output, generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

import { MASTER_KEY, startStack } from "./harness.mjs";

const TEXT = "Hello, wörld 🌍!";
const PIECES = ["Hello", ", ", "wörld", " 🌍", "!"];
const IDS = { openai: ["call_weather1", "call_clock2"], anthropic: ["toolu_weather1", "toolu_clock2"] };
const CALLS = [["get_weather", { city: "Paris", days: 2 }], ["get_time", {}]];
const tools = {
  get_weather: tool({ inputSchema: z.object({ city: z.string(), days: z.number().int() }), execute: async () => "fine" }),
  get_time: tool({ inputSchema: z.object({}), execute: async () => "noon" }),
};
// Nobody keeps the items of an answer here: without this, its Responses refers to them by id.
const ask = { prompt: "Say hello.", maxRetries: 0, providerOptions: { openai: { store: false } } };

let stack;

before(async () => {
  const names = ["text", "text-stream", "tools", "tools-stream", "json", "429", "error-event"];
  const aliases = ["openai", "anthropic"].flatMap((provider) => names.map((name) => `${provider}-${name}`));
  // OpenAI's provider serves Responses itself; the one that is replayed here has chats.
  stack = await startStack(aliases, ["use_chat_completions_api: true"]);
});

after(() => stack?.stop());

const callers = {
  chat: (apiKey) => createOpenAI({ baseURL: `${stack.base}/v1`, apiKey }).chat,
  responses: (apiKey) => createOpenAI({ baseURL: `${stack.base}/v1`, apiKey }).responses,
  messages: (apiKey) => createAnthropic({ baseURL: `${stack.base}/v1`, apiKey }),
  generate: (apiKey) => createGoogleGenerativeAI({ baseURL: `${stack.base}/v1beta`, apiKey }),
};

function callsOf(found) {
  return found.map((call) => [call.toolName, call.input]);
}

/** The ids of the results in the last request that the upstream saw. */
async function answered(provider) {
  const { messages } = JSON.parse((await stack.seen()).at(-1).body);
  const results = messages.filter((message) => message.role === "tool").map((message) => message.tool_call_id);
  const blocks = messages.flatMap((message) => (Array.isArray(message.content) ? message.content : []));
  return provider === "openai" ? results : blocks.filter((block) => block.type === "tool_result").map((block) => block.tool_use_id);
}

for (const [caller, make] of Object.entries(callers)) {
  for (const provider of ["openai", "anthropic"]) {
    describe(`${caller}, ${provider} behind the gateway`, () => {
      const model = (name) => make(MASTER_KEY)(`${provider}-${name}`);

      test("a whole answer", async () => {
        const answer = await generateText({ model: model("text"), ...ask });
        assert.equal(answer.text, TEXT);
        assert.equal(answer.finishReason, "stop");
        assert.equal(answer.usage.inputTokens, 20);
        assert.equal(answer.usage.outputTokens, 5);
      });

      test("a streamed text, piece by piece", async () => {
        const stream = streamText({ model: model("text-stream"), ...ask });
        const pieces = [];
        for await (const piece of stream.textStream) pieces.push(piece);
        assert.deepEqual(pieces, PIECES);
        assert.equal(await stream.finishReason, "stop");
        assert.equal((await stream.usage).outputTokens, 5);
      });

      test("a round of tool calls", async () => {
        const answer = await generateText({ model: model("tools"), tools, stopWhen: stepCountIs(2), ...ask });
        const calls = answer.steps[0].toolCalls;
        assert.deepEqual(callsOf(calls), CALLS);
        assert.deepEqual(answer.steps[0].toolResults.map((result) => result.output), ["fine", "noon"]);
        const ids = await answered(provider);
        // What it hands back to Google has no ids: results answer by their order.
        if (caller === "generate") assert.equal(ids.length, 2);
        else assert.deepEqual(ids, IDS[provider]);
      });

      test("streamed tool calls", async () => {
        const stream = streamText({ model: model("tools-stream"), tools, ...ask });
        assert.deepEqual(callsOf(await stream.toolCalls), CALLS);
        assert.equal(await stream.finishReason, "tool-calls");
      });

      test("an answer in a form", async () => {
        const schema = z.object({ city: z.string(), days: z.number().int() });
        const answer = await generateText({ model: model("json"), output: Output.object({ schema }), ...ask });
        assert.deepEqual(answer.output, { city: "Paris", days: 2 });
      });

      test("a refusal of the provider has its class and its status", async () => {
        await assert.rejects(generateText({ model: model("429"), ...ask }), (error) => {
          assert.ok(APICallError.isInstance(error));
          assert.equal(error.statusCode, 429);
          assert.equal(error.isRetryable, true);
          return true;
        });
      });

      test("a stream that fails says so", async () => {
        const errors = [];
        const stream = streamText({ model: model("error-event"), onError: ({ error }) => errors.push(error), ...ask });
        let text = "";
        for await (const piece of stream.textStream) text += piece;
        assert.equal(text, "Hello");
        assert.equal(errors.length, 1);
      });
    });
  }

  test(`${caller}: a wrong key`, async () => {
    await assert.rejects(generateText({ model: make("sk-wrong")("openai-text"), ...ask }), (error) => {
      assert.ok(APICallError.isInstance(error));
      assert.equal(error.statusCode, 401);
      return true;
    });
  });
}
