import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { EngineConnectionError } from "../errors/engine-connection-error.ts";
import type { ByteSink } from "../internal/byte-stream.ts";
import { ResponseSink, sendWhole } from "./response-sink.ts";

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

/** All that a server sends on one connection that ends with the answer. */
async function received(answer: (response: ServerResponse) => void, version = "1.1"): Promise<string> {
  const server = createServer((_request, response) => answer(response));
  closers.push(() => server.close());
  await once(server.listen(0, "127.0.0.1"), "listening");
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  socket.write(`GET / HTTP/${version}\r\nhost: a\r\nconnection: close\r\n\r\n`);
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  await once(socket, "close");
  return Buffer.concat(chunks).toString();
}

function bodyOf(message: string): string {
  return message.slice(message.indexOf("\r\n\r\n") + 4);
}

/** Pipes what `feed` writes. */
function piped(feed: (sink: ByteSink) => void, lastWords?: string): (response: ServerResponse) => void {
  return (response) => {
    const source = { pipe: feed, resume: () => undefined };
    const words = lastWords === undefined ? undefined : () => Buffer.from(lastWords);
    source.pipe(new ResponseSink(source, response, words));
  };
}

describe("A streamed answer", () => {
  it("is one chunk for all that is written in one turn, the end included", async () => {
    const message = await received(
      piped((sink) => {
        sink.write(Buffer.from("data: é\n\n"));
        sink.write(Buffer.from("data: b\n\n"));
        sink.end();
      }),
    );
    expect(message).toContain("Transfer-Encoding: chunked");
    expect(bodyOf(message)).toBe("13\r\ndata: é\n\ndata: b\n\n\r\n0\r\n\r\n");
  });

  it("keeps every byte, however large a chunk is", async () => {
    const large = Buffer.from(Uint8Array.from({ length: 20_000 }, (_, index) => 97 + (index % 26)));
    const message = await received(
      piped((sink) => {
        sink.write(large);
        setImmediate(() => {
          sink.write(large, large.toString("latin1"));
          sink.end();
        });
      }),
    );
    const chunk = `4e20\r\n${large.toString()}\r\n`;
    expect(bodyOf(message)).toBe(`${chunk}${chunk}0\r\n\r\n`);
  });

  it("has its headers sent when nothing is written yet", async () => {
    const message = await received((response) => {
      piped((sink) => {
        // Ends only when the headers are out.
        const wait = (): void => {
          if (response.socket!.bytesWritten > 0) sink.end();
          else setImmediate(wait);
        };
        wait();
      })(response);
    });
    expect(message).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(bodyOf(message)).toBe("0\r\n\r\n");
  });

  it("has a chunk alone in its turn sent at once, between what waits", async () => {
    let atOnce = 0;
    const message = await received((response) => {
      piped((sink) => {
        sink.write(Buffer.from("a"), "a");
        setImmediate(() => {
          const before = response.socket!.bytesWritten;
          sink.write(Buffer.from("é"), "\u00c3\u00a9");
          atOnce = response.socket!.bytesWritten - before;
          sink.write(Buffer.from("c"));
          sink.write(Buffer.from("d"), "d");
          sink.end();
        });
      })(response);
    });
    expect(atOnce).toBe("2\r\n..\r\n".length);
    expect(bodyOf(message)).toBe("1\r\na\r\n2\r\né\r\n2\r\ncd\r\n0\r\n\r\n");
  });

  it("asks for no more while its socket is full, and then for more", async () => {
    const text = "x".repeat(4096);
    let written = 0;
    let resumed = 0;
    const message = await received((response) => {
      const source = {
        pipe: () => undefined,
        resume: () => {
          resumed += 1;
          sink.end();
        },
      };
      const sink = new ResponseSink(source, response, undefined);
      setImmediate(() => {
        response.socket!.cork();
        do written += text.length;
        while (sink.write(Buffer.from(text), text));
        expect(sink.write(Buffer.from("y"), "y")).toBe(false);
        response.socket!.uncork();
      });
    });
    expect(resumed).toBe(1);
    expect(bodyOf(message).replaceAll(/[^xy]/g, "")).toBe(`${"x".repeat(written)}y`);
  });

  it("waits for the answer before it on the same connection", async () => {
    const late: ServerResponse[] = [];
    const server = createServer((_request, response) => {
      late.push(response);
      if (late.length < 2) return;
      const source = { pipe: () => undefined, resume: () => undefined };
      const sink = new ResponseSink(source, response, undefined);
      sink.write(Buffer.from("2"), "2");
      setImmediate(() => {
        sink.write(Buffer.from("3"), "3");
        late[0]!.end("1");
        setImmediate(() => {
          sink.write(Buffer.from("4"), "4");
          sink.write(Buffer.from("5"));
          sink.end();
        });
      });
    });
    closers.push(() => server.close());
    await once(server.listen(0, "127.0.0.1"), "listening");
    const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
    socket.write("GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    let message = "";
    socket.on("data", (chunk: Buffer) => (message += chunk.toString()));
    await once(socket, "close");
    const [, first, second] = message.split("HTTP/1.1 200 OK");
    expect(bodyOf(first!)).toBe("1");
    expect(bodyOf(second!)).toBe("1\r\n2\r\n1\r\n3\r\n2\r\n45\r\n0\r\n\r\n");
  });

  it("is not framed for HTTP/1.0", async () => {
    const message = await received(
      piped((sink) => {
        sink.write(Buffer.from("a"));
        sink.end();
      }),
      "1.0",
    );
    expect(bodyOf(message)).toBe("a");
  });

  it("goes through a middleware that wraps the response, unframed", async () => {
    const seen: string[] = [];
    const message = await received((response) => {
      const write = response.write.bind(response) as (chunk: unknown) => boolean;
      response.write = ((chunk: unknown) => {
        seen.push(String(chunk));
        return write(chunk);
      }) as ServerResponse["write"];
      piped((sink) => {
        sink.write(Buffer.from("ab"), "ab");
        sink.end();
      })(response);
    });
    expect(seen).toEqual(["ab"]);
    expect(bodyOf(message)).toBe("2\r\nab\r\n0\r\n\r\n");
  });

  it("that breaks has its last words, and no end", async () => {
    const error = new EngineConnectionError({ phase: "stream", replica: "a" }, { neverSent: false });
    const message = await received(
      piped((sink) => {
        sink.write(Buffer.from("a"));
        sink.fail(error);
      }, "sorry"),
    );
    expect(bodyOf(message)).toBe("6\r\nasorry\r\n");
  });
});

describe("A whole answer", () => {
  it.each([0, 1, 600, 20_000])("of %i bytes arrives as it is", async (size) => {
    const body = Buffer.from("é".repeat(size / 2) + "x".repeat(size % 2));
    const message = await received((response) => {
      response.setHeader("content-length", body.byteLength);
      sendWhole(response, body);
    });
    expect(message).toContain(`content-length: ${body.byteLength}`);
    expect(bodyOf(message)).toBe(body.toString());
  });
});
