import { createHash } from "node:crypto";
import { pageBundle } from "./page-bundle.ts";

/** The page as it is served: one file that needs no other. */
export interface PageDocument {
  readonly html: Uint8Array;
  /** Lets the page's own script and style run, and nothing else; no address but its own server's. */
  readonly contentSecurityPolicy: string;
}

let made: Promise<PageDocument> | undefined;

/** Made once in a process. */
export function pageDocument(): Promise<PageDocument> {
  made ??= makeDocument();
  return made;
}

async function makeDocument(): Promise<PageDocument> {
  const { script, style } = await pageBundle();
  // Either would end its element early.
  if (/<\/script/i.test(script) || /<\/style/i.test(style))
    throw new Error("The page's bundle can't be inlined.");
  const html = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>serve-llm</title>
<link rel="icon" href="data:,">
<style>${style}</style>
</head>
<body>
<noscript>This page needs JavaScript.</noscript>
<script type="module">${script}</script>
</body>
</html>
`;
  return {
    html: new TextEncoder().encode(html),
    contentSecurityPolicy: [
      "default-src 'none'",
      `script-src '${hashOf(script)}'`,
      `style-src '${hashOf(style)}'`,
      "img-src data:",
      "connect-src 'self'",
      "base-uri 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
    ].join("; "),
  };
}

function hashOf(text: string): string {
  return `sha256-${createHash("sha256").update(text).digest("base64")}`;
}
