import { describe, expect, it } from "vitest";

import { parsePrometheusText } from "../protocol/prometheus-text.ts";
import { metricsFacts, type TransferCounters, transferCounters } from "./metrics-facts.ts";
import { compareTexts, judgeTransfer } from "./transfer-proof.ts";

const counters = (page: string): TransferCounters => transferCounters(parsePrometheusText(page));

describe("judgeTransfer", () => {
  const bySource = (transferred: number, computed: number, ended = 1): TransferCounters =>
    counters(
      `vllm:prompt_tokens_by_source_total{engine="0",source="external_kv_transfer"} ${transferred}\n` +
        `vllm:prompt_tokens_by_source_total{engine="0",source="local_compute"} ${computed}\n` +
        `vllm:request_success_total{finished_reason="length"} ${ended}\n`,
    );

  it("believes tokens by source", () => {
    expect(judgeTransfer(bySource(100, 7), bySource(400, 8, 2), 300)).toMatchObject({
      verdict: "moved",
      text: "Decode took 300 of 300 prompt tokens from prefill (1 tokens computed by decode).",
    });
    expect(judgeTransfer(bySource(100, 7), bySource(164, 243, 2), 300).verdict).toBe("partly");
    expect(judgeTransfer(bySource(100, 7), bySource(100, 307, 2), 300).verdict).toBe("not-moved");
  });

  it("says so when other requests ran", () => {
    expect(judgeTransfer(bySource(0, 0, 1), bySource(900, 0, 5), 300).text).toContain("4 in all");
  });

  it("sums over ranks", () => {
    const rank = (engine: number, value: number): string =>
      `vllm:prompt_tokens_by_source_total{engine="${engine}",source="external_kv_transfer"} ${value}\n`;
    const before = counters(rank(0, 5) + rank(1, 5));
    expect(judgeTransfer(before, counters(rank(0, 5) + rank(1, 305)), 300).verdict).toBe("moved");
  });

  it("falls back to the older counter, then to NIXL's", () => {
    const hits = "vllm:external_prefix_cache_hits_total";
    expect(judgeTransfer(counters(`${hits} 1`), counters(`${hits} 301`), 300).verdict).toBe("moved");
    const nixl = (count: number): TransferCounters =>
      counters(
        `vllm:nixl_xfer_time_seconds_count ${count}\nvllm:nixl_xfer_time_seconds_sum ${count * 0.002}\n` +
          `vllm:nixl_bytes_transferred_sum ${count * 2 ** 21}\n`,
      );
    expect(judgeTransfer(nixl(3), nixl(4), 300)).toMatchObject({
      verdict: "moved",
      text: "KV moved (1 NIXL transfers, 2.0 MiB, 2.0 ms of transfer).",
    });
    expect(judgeTransfer(nixl(3), nixl(3), 300).verdict).toBe("not-moved");
    expect(judgeTransfer(counters(""), counters("python_info 1"), 300).verdict).toBe("unknown");
  });

  it("takes a counter that appears for one that was 0, and does not believe one that was reset", () => {
    expect(judgeTransfer(counters(""), bySource(300, 0), 300).verdict).toBe("moved");
    expect(judgeTransfer(bySource(300, 0), bySource(0, 0), 300).verdict).toBe("unknown");
  });
});

describe("compareTexts", () => {
  it("tells wrong KV from rounding", () => {
    expect(compareTexts(" a b c", " a b c")).toBe("same");
    expect(compareTexts(" a b c", " a x y")).toBe("later");
    expect(compareTexts(" a b c", " x b c")).toBe("at-once");
    expect(compareTexts("", " x")).toBe("at-once");
  });
});

describe("metricsFacts", () => {
  it("reads what vLLM says, and keeps what it does not undefined", () => {
    const page =
      'vllm:cache_config_info{block_size="16",cache_dtype="fp8",enable_prefix_caching="True"} 1.0\n' +
      'vllm:engine_sleep_state{sleep_state="awake"} 0.0\nvllm:num_requests_waiting 2\n';
    expect(metricsFacts(parsePrometheusText(page))).toMatchObject({
      blockSize: "16",
      cacheDtype: "fp8",
      prefixCaching: true,
      sleeping: true,
      load: { waiting: 2 },
    });
    expect(metricsFacts(parsePrometheusText('vllm:cache_config_info{block_size="None"} 1'))).toEqual({
      blockSize: undefined,
      cacheDtype: undefined,
      prefixCaching: undefined,
      sleeping: undefined,
      load: undefined,
    });
    expect(metricsFacts(parsePrometheusText("process_cpu_seconds_total 3"))).toBeUndefined();
  });
});
