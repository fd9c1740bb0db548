// What nginx does, in Node: one request to one engine, body and answer untouched. The floor of node:http with undici.
import { Pool } from "undici";
import { Relay } from "./relay.ts";
import { poolOptions, serveBodies } from "./serve-bodies.ts";

const pool = new Pool(process.argv[2]!, poolOptions);
const requestHeaders = ["content-type", "application/json"];

serveBodies((request, body, response) => {
  pool.dispatch({ method: "POST", path: request.url!, headers: requestHeaders, body }, new Relay(response));
});
