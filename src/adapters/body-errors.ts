import { RequestError } from "../errors/request-error.ts";

/** 413: the body is larger than allowed. */
export function bodyTooLarge(maxBytes: number): RequestError {
  return new RequestError(`The request body is larger than ${maxBytes} bytes.`, {
    status: 413,
    code: "body_too_large",
  });
}

/** 408: the body did not arrive in time. */
export function bodyTimeout(timeoutMs: number): RequestError {
  return new RequestError(`The request body was not complete within ${timeoutMs} ms.`, {
    status: 408,
    code: "body_timeout",
  });
}
