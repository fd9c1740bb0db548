import type { Clock } from "../internal/clock.ts";
import type { ApplicationSnapshot } from "../observability/application-snapshot.ts";
import type { RequestTrace } from "../observability/request-trace.ts";

/** Sees the requests of one application come and go. Called on the request's way: it must be quick and never throw. */
export interface RequestWatcher {
  /** A request has come. Its trace fills in as it goes on. */
  started(trace: RequestTrace): void;
  /** The same request is over. */
  ended(trace: RequestTrace): void;
  /** The application has shut down; nothing more is called. */
  stopped(): void;
}

/** What a {@link RequestWatcher} may ask of its application. */
export interface ApplicationView {
  /** The application's clock, which may be set until it starts. */
  clock(): Clock;
  snapshot(): ApplicationSnapshot;
  /** For what a person should know. */
  warn(message: string): void;
  /** Stops watching. */
  leave(): void;
}
