import { element } from "./element.ts";

const themes = ["auto", "light", "dark"] as const;
type Theme = (typeof themes)[number];
const storageKey = "serve-llm-theme";

/** Light, dark, or as the system has it. Remembered where the browser lets it be. */
export class ThemeSwitch {
  readonly root = element("select", { "aria-label": "Theme" });
  readonly #onChange: () => void;

  constructor(onChange: () => void) {
    this.#onChange = onChange;
    for (const theme of themes) this.root.append(element("option", { value: theme }, theme));
    this.root.value = remembered();
    this.root.addEventListener("change", () => this.#apply(true));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", onChange);
    this.#apply(false);
  }

  #apply(remember: boolean): void {
    const theme = this.root.value;
    document.documentElement.style.colorScheme = theme === "auto" ? "light dark" : theme;
    if (remember) store(theme);
    this.#onChange();
  }
}

function remembered(): Theme {
  try {
    const stored = localStorage.getItem(storageKey);
    return themes.find((theme) => theme === stored) ?? "auto";
  } catch {
    return "auto";
  }
}

function store(theme: string): void {
  try {
    localStorage.setItem(storageKey, theme);
  } catch {
    // Some browsers forbid it; then the choice lasts as long as the page.
  }
}
