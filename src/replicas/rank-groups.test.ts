import { afterEach, describe, expect, it } from "vitest";
import { judgeGroups, ranksByServer } from "./rank-groups.ts";
import { RankAssignment } from "./rank-assignment.ts";
import { EngineConnectionError } from "../errors/engine-connection-error.ts";
import { LoopbackServer, makeReplica, makeReplicaSet } from "./replica.fixture.ts";
import { get } from "./endpoint-client.fixture.ts";

const servers: LoopbackServer[] = [];

afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server[Symbol.asyncDispose]()));
});

const group = (size: number, ...names: readonly string[]) =>
  new RankAssignment({ size, perNode: undefined })
    .assign(
      names.map((name) => ({ url: `http://${name}:8000` })),
      false,
    )
    .endpoints.map((endpoint) =>
      makeReplica({ url: endpoint.url, endpoint: { ...endpoint, name: endpoint.url.slice(7, 8) } }),
    );

describe("judgeGroups", () => {
  it("keeps a group out until it is whole and well, and leaves the others alone", () => {
    const ranks = group(2, "a", "b", "c", "d");
    const plain = makeReplica({});
    expect(judgeGroups([...ranks, plain])).toEqual({ inService: [...ranks, plain], broken: [] });
    ranks[1]!.setChecked(false);
    expect(judgeGroups([...ranks, plain])).toEqual({
      inService: [ranks[2], ranks[3], plain],
      broken: [{ group: "0", reason: "rank 1 (b) unhealthy" }],
    });
    ranks[1]!.setChecked(true);
    expect(judgeGroups(ranks.slice(0, 3))).toEqual({
      inService: ranks.slice(0, 2),
      broken: [{ group: "1", reason: "1 of 2 ranks are ready" }],
    });
  });
});

describe("ranks behind one URL", () => {
  const behind = (url: string) =>
    new RankAssignment({ size: 2, perNode: 2 }).assign([{ url, name: "e" }], true).endpoints;

  it("have one server", () => {
    const [one, other] = behind("http://a:8000").map((endpoint) =>
      makeReplica({ url: endpoint.url, endpoint }),
    );
    const plain = makeReplica({ url: "http://a:8000" });
    expect([...ranksByServer([one!, plain, other!])]).toEqual([
      [one, [one, other]],
      [plain, [plain]],
    ]);
  });

  it("share its connections: one that is removed ends its own requests and no others", async () => {
    const ranksSeen: unknown[] = [];
    const waiting: (() => void)[] = [];
    const server = await new LoopbackServer((request, response) => {
      ranksSeen.push(request.headers["x-data-parallel-rank"]);
      waiting.push(() => response.end("done"));
    }).listen();
    servers.push(server);
    const set = makeReplicaSet({});
    await set.reconcile(behind(server.url));
    const [zero, one] = set.replicas as [(typeof set.replicas)[0], (typeof set.replicas)[0]];
    const call = ({ http }: typeof zero): Promise<string> =>
      new Promise((resolve, reject) => {
        http.dispatch(get("/x"), {
          onHeaders: () => undefined,
          onData: () => true,
          onEnd: () => resolve("answered"),
          onError: reject,
        });
      });
    const [first, second] = [call(zero), call(one)];
    const failed = expect(first).rejects.toBeInstanceOf(EngineConnectionError);
    while (waiting.length < 2) await new Promise((resolve) => setImmediate(resolve));
    await set.remove(zero);
    await failed;
    for (const answer of waiting) answer();
    expect(await second).toBe("answered");
    await expect(call(zero)).rejects.toBeInstanceOf(EngineConnectionError);
    expect(ranksSeen).toEqual(["0", "1"]);
    await set.destroy();
    await expect(call(one)).rejects.toBeInstanceOf(EngineConnectionError);
    // Back again, on connections of its own.
    await set.reconcile(behind(server.url));
    const again = call(set.replicas[0]!);
    while (waiting.length < 3) await new Promise((resolve) => setImmediate(resolve));
    waiting[2]!();
    expect(await again).toBe("answered");
    await set.destroy();
  });
});
