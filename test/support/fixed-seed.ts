import * as fc from "fast-check";

// Every run draws the same: a property that fails does so for everybody. FAST_CHECK_SEED looks elsewhere.
fc.configureGlobal({
  ...fc.readConfigureGlobal(),
  seed: Number(process.env["FAST_CHECK_SEED"] ?? 20_260_101),
});
