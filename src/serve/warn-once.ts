/** The log of an application that has none of its own: Node's process warnings, each message once. */
export function warnOnce(): (message: string) => void {
  const seen = new Set<string>();
  return (message) => {
    if (seen.has(message)) return;
    seen.add(message);
    process.emitWarning(message, "ServeLLMWarning");
  };
}
