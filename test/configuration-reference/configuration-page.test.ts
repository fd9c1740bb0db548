import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { environmentVariables } from "../../src/config/environment.ts";
import { configurationPage, readSections } from "./configuration-page.ts";

const page = readFileSync(new URL("../../docs/configuration.md", import.meta.url), "utf8");
const sections = readSections();

describe("docs/configuration.md", () => {
  it("is what `npx tsx test/configuration-reference/main.ts` writes", () => {
    expect(page).toBe(configurationPage());
  });

  it("has every environment variable that is read", () => {
    expect(environmentVariables.filter((name) => !page.includes(`| \`${name}\` |`))).toEqual([]);
  });
});

describe.each(sections.map(({ section, options }) => [section.title, section, options] as const))(
  "%s",
  (_title, section, options) => {
    it("has every option that is read, and no other", () => {
      if (section.keys === undefined) return;
      expect(options.map(({ name }) => name).sort()).toEqual([...section.keys].sort());
    });

    it("says what each option is for", () => {
      expect(options.length).toBeGreaterThan(0);
      const silent = options.filter(
        ({ description, documentedDefault }) => description === "" && documentedDefault === undefined,
      );
      expect(silent.map(({ name }) => name)).toEqual([]);
    });

    it("tells the defaults that hold", () => {
      const wrong = options.filter(({ name, documentedDefault }) => {
        const value = section.defaults?.[name];
        // Where words describe the default, there is nothing to compare.
        if (typeof value !== "number" && typeof value !== "boolean") return false;
        return documentedDefault !== undefined && !documentedDefault.startsWith(JSON.stringify(value));
      });
      expect(wrong.map(({ name, documentedDefault }) => `${name}: ${documentedDefault}`)).toEqual([]);
    });
  },
);
