import type { RequestHandler } from "express";
import { createGzip, type Gzip } from "node:zlib";

/**
 * Stands in for `compression()` of the package of that name, which is what you would install: compresses what is sent
 * through `response`, unless `cache-control: no-transform` forbids it, and adds `response.flush()`.
 */
export const gzip: RequestHandler = (request, response, next) => {
  const plain = {
    writeHead: response.writeHead.bind(response),
    write: response.write.bind(response),
    end: response.end.bind(response),
  };
  let decided = false;
  let zip: Gzip | undefined;
  const decide = (): Gzip | undefined => {
    if (decided) return zip;
    decided = true;
    const forbidden = /\bno-transform\b/.test(String(response.getHeader("cache-control")));
    if (forbidden || !/\bgzip\b/.test(String(request.headers["accept-encoding"]))) return undefined;
    response.removeHeader("content-length");
    response.setHeader("content-encoding", "gzip");
    zip = createGzip();
    zip.on("data", (chunk: Buffer) => plain.write(chunk)).once("end", () => plain.end());
    return zip;
  };
  Object.assign(response, {
    writeHead: (...args: Parameters<typeof response.writeHead>) => {
      decide();
      return plain.writeHead(...args);
    },
    write: (...args: Parameters<typeof response.write>) =>
      (decide() ?? { write: plain.write }).write(...args),
    end: (...args: Parameters<typeof response.end>) => {
      const to = decide();
      if (to === undefined) plain.end(...args);
      else to.end(...args);
      return response;
    },
    flush: () => zip?.flush(),
  });
  next();
};
