import type { ChangeWish } from '#src/backend/change-wish.ts';
import type { ChangeRequest } from '#src/cli/change-network.ts';
import type { FlagTable, OptionsOf } from '#src/lib/go-flags.ts';

/** What `weft network change` can be given, beside --vni and --mtu, which networks of Docker's have as well. */
export const CHANGE_FLAGS = {
  backend: text('the `TYPE` of the backend to change to (change); without it the present one'),
  port: {
    kind: 'int',
    default: 0,
    environment: false,
    description: 'the UDP `port` to change to (change); without it that of the backend',
  },
  option: {
    kind: 'repeatable',
    default: [],
    environment: false,
    description: 'another option of the backend to change to, as `NAME=VALUE` (change); may be repeated',
  },
  status: flag('print where a change stands, host by host (change)'),
  abort: flag('go back to the old path (change)'),
  without: {
    kind: 'repeatable',
    default: [],
    environment: false,
    description:
      'a host that is not waited for, by its `address` or lease (change): it loses its peers until it is back; may be repeated',
  },
  'accept-smaller-mtu': flag('change to a path that carries smaller packets (change)'),
  wait: {
    kind: 'duration',
    default: 0,
    environment: false,
    description:
      'how long a change may stand still before the command leaves it as it is (change); 0 for as long as it takes',
  },
} as const satisfies FlagTable;

function text(description: string) {
  return { kind: 'string', default: '', environment: false, description } as const;
}

function flag(description: string) {
  return { kind: 'bool', default: false, environment: false, description } as const;
}

/** `by`: the name of this host. */
export function changeRequest(
  options: OptionsOf<typeof CHANGE_FLAGS> & Pick<ChangeWish, 'vni' | 'mtu'>,
  by: string,
): ChangeRequest {
  const { status, abort, without, acceptSmallerMtu, wait } = options;
  const wish = { ...options, options: options.option };
  return { wish, status, abort, acceptSmallerMtu, without, waitMs: wait, by };
}
