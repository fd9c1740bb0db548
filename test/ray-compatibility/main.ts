import { writeFileSync } from "node:fs";

import { compatibilityPage } from "./compatibility-page.ts";

writeFileSync(new URL("../../docs/ray-compatibility.md", import.meta.url), compatibilityPage());
