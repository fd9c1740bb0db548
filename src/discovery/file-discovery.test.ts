import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DiscoveryProbe } from "./discovery.fixture.ts";
import { fileDiscovery } from "./file-discovery.ts";

let folder: string;
let path: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "serve-llm-"));
  path = join(folder, "endpoints.yaml");
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** Lets fake time pass while the system's own notices arrive, until something holds. */
async function untilTrue(probe: DiscoveryProbe, holds: () => boolean): Promise<void> {
  while (!holds()) {
    probe.clock.advance(50);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function start(): Promise<DiscoveryProbe> {
  // No polling within the test's fake time: only the system's notices count.
  const probe = new DiscoveryProbe(fileDiscovery({ path, pollMs: 1e12 }));
  await probe.untilSnapshots(1);
  return probe;
}

describe("fileDiscovery", () => {
  it("reads YAML and JSON, a list or an object with one", async () => {
    for (const text of [
      "- http://a:1/v1\n- url: http://b:1\n  api_key: k\n",
      '{"endpoints": ["http://a:1", {"url": "http://b:1", "apiKey": "k"}]}',
    ]) {
      await writeFile(path, text);
      const probe = await start();
      expect(probe.snapshots).toEqual([[{ url: "http://a:1" }, { url: "http://b:1", apiKey: "k" }]]);
      await probe.stop();
      expect(probe.clock.pendingTimers).toBe(0);
    }
  });

  it("notices a change in place and an atomic replacement", async () => {
    await writeFile(path, '["http://a"]');
    const probe = await start();
    await writeFile(path, '["http://b"]');
    await untilTrue(probe, () => probe.urls[0] === "http://b");
    for (const host of ["c", "d"]) {
      await writeFile(join(folder, "next"), `["http://${host}"]`);
      await rename(join(folder, "next"), path);
      await untilTrue(probe, () => probe.urls[0] === `http://${host}`);
    }
    expect(probe.warnings).toEqual([]);
    await probe.stop();
  });

  it("notices a folder that is swapped behind a symbolic link, as a ConfigMap's is", async () => {
    for (const [version, host] of [
      ["v1", "a"],
      ["v2", "b"],
    ] as const) {
      await mkdir(join(folder, version));
      await writeFile(join(folder, version, "endpoints.yaml"), `["http://${host}"]`);
    }
    await symlink("v1", join(folder, "..data"));
    await symlink(join("..data", "endpoints.yaml"), path);
    const probe = await start();
    await symlink("v2", join(folder, "..next"));
    await rename(join(folder, "..next"), join(folder, "..data"));
    await untilTrue(probe, () => probe.urls[0] === "http://b");
    await probe.stop();
  });

  it("keeps the last good list while the file is broken, empty or missing, and says so once for each reason", async () => {
    await writeFile(path, '["http://a"]');
    const probe = await start();
    for (const [index, text] of ["[unclosed", "", '["ftp://a"]', '{"hosts": []}'].entries()) {
      await writeFile(join(folder, "next"), text);
      await rename(join(folder, "next"), path);
      await untilTrue(probe, () => probe.warnings.length === index + 1);
    }
    await rm(path);
    await untilTrue(probe, () => probe.warnings.length === 5);
    expect(probe.urls).toEqual(["http://a"]);
    expect(probe.warnings[0]).toContain("Not valid YAML");
    expect(probe.warnings[2]).toContain("URL scheme should be http or https");
    expect(probe.warnings[4]).toContain("ENOENT");
    await writeFile(path, "[]");
    await untilTrue(probe, () => probe.snapshots.length === 2);
    expect(probe.urls).toEqual([]);
    expect(probe.warnings[5]).toContain("readable again");
    await probe.stop();
  });

  it("looks at the file now and then even without a notice", async () => {
    const real = join(folder, "elsewhere");
    await mkdir(real);
    await writeFile(join(real, "list"), '["http://a"]');
    await symlink(join(real, "list"), path);
    const probe = new DiscoveryProbe(fileDiscovery({ path, pollMs: 1_000 }));
    await probe.untilSnapshots(1);
    // Nothing happens in the folder that is watched.
    await writeFile(join(real, "list"), '["http://b"]');
    await untilTrue(probe, () => probe.urls[0] === "http://b");
    await probe.stop();
  });

  it("does not start without a good file", async () => {
    await expect(new DiscoveryProbe(fileDiscovery({ path })).ended).rejects.toThrow("ENOENT");
    await writeFile(path, "7");
    await expect(new DiscoveryProbe(fileDiscovery({ path })).ended).rejects.toThrow("Input should be a list");
  });
});
