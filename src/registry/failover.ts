import type { Endpoint, EndpointRing } from '#src/registry/endpoints.ts';
import { type Failure, isLocal, registryError } from '#src/registry/failure.ts';

export interface CallOptions {
  /** For the error: `cannot <what>: …`. */
  readonly what: string;
  /** True if the call may be sent again to another endpoint when it is unknown whether the first one did it. */
  readonly repeatable: boolean;
}

/** How long one endpoint may take to answer one call by default. */
export const DEFAULT_CALL_TIMEOUT_MS = 4_000;

/**
 * Asks the endpoints in turn until one answers, each once, without a pause: pauses are the caller's. A call that may
 * not be repeated moves on only from an endpoint it never reached.
 *
 * @throws {RegistryError} with what every endpoint said; the signal's reason when it aborts
 */
export async function askInTurn<Answer>(
  ring: EndpointRing,
  { what, repeatable }: CallOptions,
  components: {
    ask(endpoint: Endpoint): Promise<Answer>;
    judge(endpoint: Endpoint, error: unknown): Failure;
  },
  signal: AbortSignal,
): Promise<Answer> {
  const failures: Failure[] = [];
  while (failures.length < ring.size) {
    const endpoint = ring.current;
    try {
      return await components.ask(endpoint);
    } catch (error) {
      signal.throwIfAborted();
      const failure = components.judge(endpoint, error);
      failures.push(failure);
      if (!isLocal(failure.reason)) break;
      ring.failed(endpoint);
      if (!repeatable && !failure.unsent) break;
    }
  }
  throw registryError(what, failures);
}
