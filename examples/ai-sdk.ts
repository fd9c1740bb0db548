// Vercel's AI SDK on top of the application: in the same process, with no HTTP server between.
// Run it: npx tsx examples/ai-sdk.ts
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, streamText } from "ai";
import { app, model, stopApp } from "./app.ts";

const provider = createOpenAICompatible({
  name: "serve-llm",
  // The host is never looked up: requests go to the application's own fetch.
  baseURL: "http://serve-llm/v1",
  fetch: (input, init) => app.fetch(new Request(input, init)),
  includeUsage: true,
});

const prompt = "Say something.";
const { text, usage } = await generateText({ model: provider(model), prompt });
console.log(`generateText: ${text} (${usage.outputTokens} tokens)`);

const stream = streamText({ model: provider(model), prompt });
let streamed = "";
for await (const delta of stream.textStream) streamed += delta;
console.log("streamText:  ", streamed);

await stopApp();
