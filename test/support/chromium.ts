import { existsSync } from "node:fs";
import { environmentVariable } from "../../src/config/environment.ts";

const usualPlaces = [
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

/** An installed Chromium: `CHROMIUM_PATH`, else where systems usually have it; undefined when there is none. */
export function installedChromium(): string | undefined {
  return [environmentVariable("CHROMIUM_PATH"), ...usualPlaces].find(
    (path): path is string => path !== undefined && existsSync(path),
  );
}
