/** Stands in for `vllm`: prints what it was started with, then is `serve-llm mock-vllm`. */
import { runCommandLine } from "../../src/cli/command-line.ts";

const words = process.argv.slice(2);
const names = [
  "CUDA_VISIBLE_DEVICES",
  "VLLM_NIXL_SIDE_CHANNEL_HOST",
  "VLLM_NIXL_SIDE_CHANNEL_PORT",
  "VLLM_API_KEY",
];
const env = Object.fromEntries(names.map((name) => [name, process.env[name]]));
process.stdout.write(`${JSON.stringify({ pid: process.pid, words, env })}\n`);
process.exitCode = await runCommandLine([process.execPath, "serve-llm", "mock-vllm", ...words]);
