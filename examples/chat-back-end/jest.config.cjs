module.exports = {
  rootDir: __dirname,
  testMatch: ["<rootDir>/*.jest.ts"],
  // ts-jest or @swc/jest in a project of yours; this needs nothing but the compiler.
  transform: { "\\.ts$": "<rootDir>/transpile.cjs" },
};
