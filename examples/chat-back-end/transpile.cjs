const ts = require("typescript");

/** Takes the types off, for jest. */
module.exports = {
  process: (text) => ({
    code: ts.transpileModule(text, {
      compilerOptions: { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022 },
    }).outputText,
  }),
};
