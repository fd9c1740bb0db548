import { describe, expect, it } from "vitest";
import { DiscoveryProbe } from "./discovery.fixture.ts";
import { mutableDiscovery } from "./mutable-discovery.ts";

describe("mutableDiscovery", () => {
  it("yields the list as it is, and each change, to every reader", async () => {
    const list = mutableDiscovery(["http://a:1/v1"]);
    const [one, other] = [new DiscoveryProbe(list), new DiscoveryProbe(list)];
    await Promise.all([one.untilSnapshots(1), other.untilSnapshots(1)]);
    list.add("http://b:1", { url: "http://c:1", name: "c", rank: 2 });
    await Promise.all([one.untilSnapshots(2), other.untilSnapshots(2)]);
    expect(list.remove("http://a:1/v1/", "c", "http://nobody")).toBe(2);
    await Promise.all([one.untilSnapshots(3), other.untilSnapshots(3)]);
    expect(one.snapshots.map((each) => each.map(({ url }) => url))).toEqual([
      ["http://a:1"],
      ["http://a:1", "http://b:1", "http://c:1"],
      ["http://b:1"],
    ]);
    expect(other.snapshots).toEqual(one.snapshots);
    expect(list.endpoints).toEqual([{ url: "http://b:1" }]);
    await Promise.all([one.stop(), other.stop()]);
  });

  it("gives a slow reader the last list, not every one", async () => {
    const list = mutableDiscovery([]);
    const probe = new DiscoveryProbe(list);
    await probe.untilSnapshots(1);
    for (let port = 1; port <= 9; port += 1) list.set([`http://a:${port}`]);
    await probe.untilSnapshots(2);
    expect(probe.urls).toEqual(["http://a:9"]);
    await probe.stop();
    expect(probe.snapshots).toHaveLength(2);
  });

  it("refuses bad endpoints and duplicates, and is then as before", () => {
    const list = mutableDiscovery(["http://a"]);
    expect(() => list.add("ftp://b")).toThrow("[1].url: URL scheme should be http or https");
    expect(() => list.add("http://a/")).toThrow("The same endpoint as number 0");
    expect(() => list.set("http://a" as never)).toThrow("Input should be a list");
    expect(list.endpoints).toEqual([{ url: "http://a" }]);
    expect(list.remove("http://x")).toBe(0);
  });
});
