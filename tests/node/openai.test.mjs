// The official Node `openai` client through the gateway: OpenAI and Anthropic behind it.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import OpenAI from "openai";

import { MASTER_KEY, startStack, waitFor } from "./harness.mjs";

const TEXT = "Hello, wörld 🌍!";
const CACHED = { openai: 8, anthropic: 7 };
const IDS = { openai: ["call_weather1", "call_clock2"], anthropic: ["toolu_weather1", "toolu_clock2"] };
const messages = [{ role: "user", content: "Say hello." }];
const parameters = { type: "object", properties: {} };
const tools = ["get_weather", "get_time"].map((name) => ({ type: "function", function: { name, parameters } }));

let stack;
let client;

before(async () => {
  const both = ["text", "text-stream", "tools-stream", "error-event", "429", "text-stream,cut=900", "long-stream,events,pace=100ms"];
  stack = await startStack(["openai", "anthropic"].flatMap((provider) => both.map((name) => `${provider}-${name}`)));
  client = new OpenAI({ baseURL: `${stack.base}/v1`, apiKey: MASTER_KEY, maxRetries: 0, timeout: 15_000 });
});

after(() => stack?.stop());

for (const provider of ["openai", "anthropic"]) {
  describe(`${provider} behind the gateway`, () => {
    test("a whole answer", async () => {
      const answer = await client.chat.completions.create({ model: `${provider}-text`, messages });
      assert.equal(answer.choices[0].message.content, TEXT);
      assert.equal(answer.choices[0].finish_reason, "stop");
      assert.equal(answer.usage.prompt_tokens, 20);
      assert.equal(answer.usage.completion_tokens, 5);
      assert.equal(answer.usage.prompt_tokens_details.cached_tokens, CACHED[provider]);
    });

    test("a streamed text, piece by piece", async () => {
      const stream_options = { include_usage: true };
      const model = `${provider}-text-stream`;
      const stream = await client.chat.completions.create({ model, messages, stream: true, stream_options });
      const pieces = [];
      const ends = [];
      let usage;
      for await (const chunk of stream) {
        usage = chunk.usage ?? usage;
        for (const choice of chunk.choices) {
          if (choice.delta.content) pieces.push(choice.delta.content);
          if (choice.finish_reason) ends.push(choice.finish_reason);
        }
      }
      assert.deepEqual(pieces, ["Hello", ", ", "wörld", " 🌍", "!"]);
      assert.deepEqual(ends, ["stop"]);
      assert.equal(usage.total_tokens, 25);
    });

    test("streamed tool calls, put together by the SDK", async () => {
      const stream = client.chat.completions.stream({ model: `${provider}-tools-stream`, messages, tools });
      const { choices } = await stream.finalChatCompletion();
      const calls = choices[0].message.tool_calls;
      assert.equal(choices[0].finish_reason, "tool_calls");
      assert.deepEqual(calls.map((call) => call.id), IDS[provider]);
      assert.deepEqual(calls.map((call) => call.function.name), ["get_weather", "get_time"]);
      assert.deepEqual(calls.map((call) => JSON.parse(call.function.arguments)), [{ city: "Paris", days: 2 }, {}]);
    });

    test("a refusal of the provider has its class, its code and its advice", async () => {
      const call = client.chat.completions.create({ model: `${provider}-429`, messages });
      await assert.rejects(call, (error) => {
        assert.ok(error instanceof OpenAI.RateLimitError);
        assert.equal(error.status, 429);
        assert.equal(error.code, "rate_limit_exceeded");
        assert.equal(error.headers.get("retry-after"), "7");
        return true;
      });
    });

    for (const [name, code] of [["error-event", undefined], ["text-stream,cut=900", "upstream_truncated"]]) {
      test(`a stream that fails: ${name}`, async () => {
        const stream = await client.chat.completions.create({ model: `${provider}-${name}`, messages, stream: true });
        const ends = [];
        const read = async () => {
          for await (const chunk of stream) ends.push(...chunk.choices.map((choice) => choice.finish_reason));
        };
        await assert.rejects(read, (error) => {
          assert.ok(error instanceof OpenAI.APIError);
          assert.equal(error.type, "server_error");
          if (code) assert.equal(error.code, code);
          return true;
        });
        assert.ok(ends.length > 0, "something arrived before it failed");
        assert.ok(ends.every((end) => end === null), "an end that the provider did not give");
      });
    }

    test("a caller that leaves is left", async () => {
      const model = `${provider}-long-stream,events,pace=100ms`;
      const before = (await stack.seen()).length;
      const stream = await client.chat.completions.create({ model, messages, stream: true });
      const pieces = [];
      for await (const chunk of stream) {
        const text = chunk.choices[0]?.delta.content;
        if (text) pieces.push(text);
        if (pieces.length === 3) stream.controller.abort();
      }
      assert.deepEqual(pieces, ["0 ", "1 ", "2 "]);
      const seen = await waitFor(
        async () => (await stack.seen()).slice(before).find((one) => one.ending !== null),
        "the upstream still streams to a caller that left",
      );
      assert.equal(seen.ending, "peer_closed");
    });
  });
}

test("a wrong key", async () => {
  const stranger = new OpenAI({ baseURL: `${stack.base}/v1`, apiKey: "sk-wrong", maxRetries: 0 });
  const call = stranger.chat.completions.create({ model: "openai-text", messages });
  await assert.rejects(call, (error) => {
    assert.ok(error instanceof OpenAI.AuthenticationError);
    assert.equal(error.code, "invalid_api_key");
    return true;
  });
});
