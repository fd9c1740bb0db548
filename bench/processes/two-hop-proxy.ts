// The two calls of a disaggregated request and nothing else: no checks, no limits, no account of anything. The floor of
// prefill and decode with node:http and undici, one after the other.
import { type Dispatcher, Pool } from "undici";
import { Relay } from "./relay.ts";
import { poolOptions, serveBodies } from "./serve-bodies.ts";

const prefill = new Pool(process.argv[2]!, poolOptions);
const decode = new Pool(process.argv[3]!, poolOptions);
const requestHeaders = ["content-type", "application/json"];
const prefillFields = Buffer.from(
  '{"kv_transfer_params":{"do_remote_decode":true,"do_remote_prefill":false,"remote_engine_id":null,' +
    '"remote_block_ids":null,"remote_host":null,"remote_port":null},"max_tokens":1,"stream":false,',
);

/** Gathers prefill's answer, and hands its handle over. */
class Handoff implements Dispatcher.DispatchHandler {
  readonly #chunks: Buffer[] = [];
  readonly #onHandle: (handle: string) => void;
  readonly #onError: () => void;

  constructor(onHandle: (handle: string) => void, onError: () => void) {
    this.#onHandle = onHandle;
    this.#onError = onError;
  }

  onConnect(): void {}

  onHeaders(): boolean {
    return true;
  }

  onData(chunk: Buffer): boolean {
    this.#chunks.push(chunk);
    return true;
  }

  onComplete(): void {
    const { kv_transfer_params: handle } = JSON.parse(Buffer.concat(this.#chunks).toString()) as {
      kv_transfer_params: unknown;
    };
    this.#onHandle(JSON.stringify(handle));
  }

  onError(): void {
    this.#onError();
  }
}

serveBodies((request, body, response) => {
  const common = { method: "POST", path: request.url!, headers: requestHeaders } as const;
  const onHandle = (handle: string): void => {
    const end = Buffer.from(`,"kv_transfer_params":${handle}}`);
    const decodeBody = Buffer.concat([body.subarray(0, -1), end]);
    decode.dispatch({ ...common, body: decodeBody }, new Relay(response));
  };
  const prefillBody = Buffer.concat([prefillFields, body.subarray(1)]);
  prefill.dispatch({ ...common, body: prefillBody }, new Handoff(onHandle, () => response.destroy()));
});
