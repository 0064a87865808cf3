import { socketsOf } from '#src/cli/ask-networks.ts';
import { lookCommand } from '#src/cli/look-command.ts';
import { WeftError } from '#src/lib/errors.ts';
import { askSocket, readJson } from '#src/observe/ask-socket.ts';

/** To ask twice would be two rotations. */
const PATIENCE_MS = 10_000;

/** `weft rotate`: 0 when a rotation of WireGuard keys begins. */
export const ROTATE = lookCommand({
  name: 'rotate',
  takes: '',
  help: [
    '  Asks the flanneld on this host to begin a rotation of the WireGuard keys now. The other hosts join, and "weft status"',
    '  says how far it is. All hosts need the flag --wireguard-rotate.',
  ],
  flags: {},
  async run(call, context) {
    let asked = 0;
    for (const socket of await socketsOf(context, call)) {
      const answer = await askSocket(socket, '/v1/rotate', {
        method: 'POST',
        silenceMs: PATIENCE_MS,
        signal: context.signal,
      });
      if (answer === undefined) continue;
      if (answer === 'silent')
        throw new WeftError('silent', `flanneld holds its socket but does not answer (${socket})`);
      if (answer.status !== 200) {
        const { error } = readJson(socket, answer.body) as { error?: string };
        throw new WeftError('rotation', error ?? `flanneld refused it (HTTP ${answer.status})`);
      }
      asked++;
    }
    if (asked === 0) throw new WeftError('not-running', 'no flanneld serves a network on this host');
    context.output.print('A rotation of the WireGuard keys begins; "weft status" says how far it is');
    return 0;
  },
});
