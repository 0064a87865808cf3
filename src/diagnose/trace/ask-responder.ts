import { request } from 'node:http';
import { formatEndpoint } from '#src/lib/endpoint.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import { formatIp, type Ip, isIpv4 } from '#src/lib/ip.ts';
import { runningDeadlineIn } from '#src/sys/timer.ts';

/** The responder of another host. */
export interface ResponderAddress {
  readonly address: Ip;
  readonly port: number;
  /** This host's end of the tunnel: the responder answers only those of leases. */
  readonly from: Ip;
}

/** Bytes of the longest answer. */
const LONGEST_ANSWER = 1 << 20;

/**
 * `POST PATH` to a peer's responder: the JSON value that it answers. `timeoutMs` is for all of it, from the connection on. Nothing
 * of it stays open afterwards.
 *
 * @throws {WeftError} `responder` when nothing answers in time, when it refuses, or when what answers is none of weft's. The cause
 *   of a silence is a `TimeoutError`.
 */
export async function askResponder(
  { address, port, from }: ResponderAddress,
  path: string,
  body: unknown,
  { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal?: AbortSignal | undefined },
): Promise<unknown> {
  const text = JSON.stringify(body);
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  // A timeout of the request itself would count from when it is connected.
  const deadline = runningDeadlineIn(timeoutMs, signal);
  const asked = request(
    {
      host: formatIp(address),
      port,
      localAddress: formatIp(from),
      family: isIpv4(address) ? 4 : 6,
      method: 'POST',
      path,
      agent: false,
      headers: { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) },
      signal: deadline,
    },
    (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        bytes += chunk.length;
        if (bytes > LONGEST_ANSWER) asked.destroy(new Error('its answer is too long'));
      });
      response.on('error', reject);
      response.on('end', () => {
        const answer = Buffer.concat(chunks).toString();
        if (response.statusCode === 200) resolve(answer);
        else reject(new Error(refusalIn(answer) ?? `it answers with status ${response.statusCode}`));
      });
    },
  );
  asked.on('error', reject);
  asked.end(text);
  try {
    return JSON.parse(await promise);
  } catch (error) {
    signal?.throwIfAborted();
    const cause = deadline.aborted ? deadline.reason : error;
    const why = deadline.aborted ? `nothing in ${timeoutMs / 1000} s` : messageOf(error);
    throw new WeftError(
      'responder',
      `no answer of weft from ${formatEndpoint({ ip: address, port })}: ${why}`,
      {
        cause,
      },
    );
  } finally {
    asked.destroy();
  }
}

function refusalIn(answer: string): string | undefined {
  try {
    const { error } = JSON.parse(answer) as { error?: unknown };
    return typeof error === 'string' ? error : undefined;
  } catch {
    return undefined;
  }
}
