import type { Output } from '#src/cli/terminal.ts';
import { parseListen, type UI_FLAGS } from '#src/cli/ui-flags.ts';
import { WeftError } from '#src/lib/errors.ts';
import type { OptionsOf } from '#src/lib/go-flags.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemCommands } from '#src/sys/command.ts';
import { systemProgramFiles } from '#src/sys/program-files.ts';
import { secretBytes } from '#src/sys/random.ts';
import { systemUnixHttp } from '#src/sys/unix-http.ts';
import { isLoopback, UiServer } from '#src/ui/server/ui-server.ts';
import type { UiPlace } from '#src/ui/server/ui-source.ts';

/** Bytes of a token that nobody guesses. */
const TOKEN_BYTES = 24;

/** Serves the page until the signal aborts. The exit code. */
export async function serveUi(
  place: UiPlace,
  options: OptionsOf<typeof UI_FLAGS>,
  { output, signal }: { readonly output: Output; readonly signal: AbortSignal },
): Promise<number> {
  const listen = parseListen(options.listen);
  if (listen === undefined) throw new WeftError('usage', `--listen=${options.listen} is no address and port`);
  const { address, port } = listen;
  const made = isLoopback(address) ? undefined : secretBytes(TOKEN_BYTES).toString('base64url');
  const token = options.token === '' ? made : options.token;
  const server = new UiServer(
    {
      clock: systemClock,
      http: systemUnixHttp,
      commands: systemCommands,
      files: systemProgramFiles,
      place,
    },
    { address, port, token },
  );
  const bound = await server.start();
  const host = address.includes(':') ? `[${address}]` : address;
  const query = token === undefined ? '' : `?token=${token}`;
  output.print(`the page of ${place.title}: http://${host}:${bound}/${query}`);
  const { promise, resolve } = Promise.withResolvers<void>();
  if (signal.aborted) resolve();
  signal.addEventListener('abort', () => resolve(), { once: true });
  await promise;
  await server.stop();
  return 0;
}
