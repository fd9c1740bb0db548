import { toCamelCase } from "../../src/config/casing.ts";
import {
  rayConfigFields,
  rayExperimentalKeys,
  type RayName,
  rayModules,
  rayServerMethods,
} from "./ray-names.ts";

/** The whole of `docs/ray-compatibility.md`. */
export function compatibilityPage(): string {
  return `${[
    "# Ray compatibility",
    "<!-- Written by test/ray-compatibility/main.ts from ray-names.ts; a test compares them. -->",
    "Every public name of `ray.serve.llm` in Ray **2.58.0**, what it is here, and what differs. How to move an application\nis in [Coming from Ray](from-ray.md).",
    ...Object.entries(rayModules).flatMap(([module, names]) => [`## \`${module}\``, nameTable(names)]),
    "## Methods of `LLMServer`, by a handle",
    "What Ray calls through a Serve handle, `handle.chat.remote(...)`, is a method of `app.handle` and of\n`serve.getDeploymentHandle(app, name)`.",
    table(
      ["Ray", "here", "what differs"],
      Object.entries(rayServerMethods).map(([name, { here, differs }]) => [
        code(name),
        here === undefined ? "–" : code(here),
        differs,
      ]),
    ),
    "## Fields of `LLMConfig`",
    "Each is taken in camelCase and in Ray's spelling; both at once is an error.",
    table(
      ["Ray", "here", "what differs"],
      Object.entries(rayConfigFields).map(([name, text]) => [code(name), code(toCamelCase(name)), text]),
    ),
    "Ours, and left out of every export: `endpoints`, `scalingTarget`, `client`.",
    "## Keys of `experimental_configs`",
    table(
      ["key", "here"],
      Object.entries(rayExperimentalKeys).map(([name, text]) => [code(name), text]),
    ),
    "## Where this library decides otherwise",
    decisions,
    "## Exports",
    exportsText,
  ].join("\n\n")}\n`;
}

const decisions = `Recorded behaviour of Ray is followed, its lenient reading of values (\`"4"\` for 4) included. It is left where

- **documentation and code of Ray disagree.** The documentation wins: with data parallelism \`num_replicas\` must be
  \`data_parallel_size\` and nothing scales (the code multiplies), \`dp_size_per_node\` is read, and a proxy orchestrates.
- **Ray has a defect**, recorded as \`ray_defect\` in the conformance corpora. A raw Python error, or a 500 for a client's
  mistake, is a typed error or a 4xx in OpenAI's shape. What Ray accepts and then ignores has an effect, or a line in
  \`app.notes()\`. Objects a caller passes in are not changed. Two different things never get one name or one port.
- **a value could only be a mistake.** Unknown keys, misspelt connectors and keys in both spellings are refused, with the
  nearest known name.

Each such rule is in a list of its corpus, with its reason, and a test asserts it: see
[test/golden/README.md](../test/golden/README.md).`;

const exportsText = `\`\`\`ts
import { LLMConfig } from "serve-llm";

const prefillConfig = LLMConfig.fromFile("prefill.yaml");

app.toServeConfig({ format: "yaml" }); // for \`serve deploy\`
app.toRayService({ name: "llm", namespace: "prod", format: "yaml" }); // for \`kubectl apply\`
prefillConfig.toVllmCommand({ role: "prefill", rank: 0, nodeIp: "10.0.0.9" }).toShell();
\`\`\`

The command \`serve-llm build --target ray|rayservice|vllm serve.yaml\` does the same for a file.

- An export holds what was given, in Ray's spelling, without defaults; loading it again changes nothing.
- Left out: \`endpoints\`, \`scalingTarget\`, \`client\`, and options of this library's own ingress.
- Refused: graphs put together by hand, classes and routers that Ray could not import.
- \`toServeConfig\` and \`toRayService\` contain the variables of \`runtime_env\` as given, secrets too, as Ray's own file
  does. A printed \`vllm serve\` command never shows a secret.
- An engine id is made anew for each command; give \`kv_transfer_config.engine_id\` to have the same one.
- The default image of a RayService, \`rayproject/ray-llm:2.58.0-py311-cu128\`, is a suggestion: check that it has your
  drivers, or name your own.`;

function nameTable(names: readonly RayName[]): string {
  return table(
    ["Ray", "here", "what differs"],
    names.map(({ name, here, differs }) => [
      code(name),
      here.length === 0 ? "–" : here.map(code).join(", "),
      differs,
    ]),
  );
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  return [line(head), `|${head.map(() => "---").join("|")}|`, ...rows.map(line)].join("\n");
}

function code(text: string): string {
  return `\`${text}\``;
}
