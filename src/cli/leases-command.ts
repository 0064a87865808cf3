import { askNetworks, type NetworkAnswer } from '#src/cli/ask-networks.ts';
import { bySubnet } from '#src/cli/by-subnet.ts';
import { type Cell, formatTable, noteLines } from '#src/cli/format-table.ts';
import { jsonOf } from '#src/cli/json-of.ts';
import { type LookCall, type LookContext, lookCommand, show, WATCH_FLAG } from '#src/cli/look-command.ts';
import { inTone, type Screen, type Tone } from '#src/cli/screen.ts';
import { formatSpan } from '#src/cli/spans.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import type { FlagTable, OptionsOf } from '#src/lib/go-flags.ts';
import { FLANNELD_FLAGS } from '#src/node/flanneld-flags.ts';
import type { Leases, LeaseView, SubnetCounts } from '#src/observe/api.ts';

/** The flags that name the registry. */
const ETCD_FLAGS = Object.fromEntries(
  Object.entries(FLANNELD_FLAGS).filter(([name]) => name.startsWith('etcd-')),
) satisfies FlagTable;

/** `weft leases`: 0, also when some are not used. */
export const LEASES = lookCommand({
  name: 'leases',
  takes: '',
  help: [
    '  All leases of the network, as the registry has them, and how much of the network is used. Where no flanneld runs on',
    '  this host the registry itself is asked; --etcd-endpoints and the other flags of flanneld say where it is.',
    '  STATE is own for the lease of this host, used, or quarantined with the reason below the table.',
  ],
  flags: WATCH_FLAG,
  nodeFlags: ETCD_FLAGS,
  async run(call, context) {
    const { screen } = context;
    let said: string | undefined;
    await show(
      {
        title: 'weft leases',
        ask: () => askLeases(call, context),
        lines: (networks) =>
          networks.flatMap(({ name, answer, note }, at) => [
            ...(note === undefined ? [] : [inTone(note, 'warning', screen.hasColour)]),
            ...(name === undefined ? [] : [...(at === 0 ? [] : ['']), `network ${name}`]),
            ...formatLeases(answer, screen),
          ]),
        json: (networks) => {
          const { note } = networks[0] ?? {};
          if (note !== undefined && note !== said) context.output.complain(`weft leases: ${note}`);
          said = note;
          return jsonOf(networks);
        },
        essence: (networks) => networks.map(({ answer }) => essenceOf(answer)),
      },
      call.options,
      context,
    );
    return 0;
  },
});

type Call = LookCall<OptionsOf<typeof WATCH_FLAG>>;

/** From the daemon, or from the registry where none answers. */
async function askLeases(call: Call, context: LookContext): Promise<NetworkAnswer<Leases>[]> {
  try {
    return await askNetworks(context, call, '/v1/leases', context.signal);
  } catch (error) {
    if (!(error instanceof WeftError) || !NOBODY.includes(error.code)) throw error;
    const { readRegistryLeases } = await import('#src/cli/read-registry-leases.ts');
    const { options, id } = call;
    const prefix = id?.prefix ?? options.etcdPrefix;
    const { leases, description } = await readRegistryLeases(
      { ...options, etcdPrefix: prefix },
      context,
    ).catch((failure: unknown) => {
      if (context.signal.aborted) throw failure;
      throw new WeftError(
        'not-running',
        `${error.message}, and the registry gave no leases: ${messageOf(failure)}`,
      );
    });
    const note = `${error.message}: this is what ${description} says`;
    return [{ socket: '', answer: leases, note }];
  }
}

const NOBODY = ['not-running', 'silent'];

const essenceOf = ({ leases, ...counts }: Leases): unknown => [
  counts,
  leases.map(({ remainingSeconds: _left, ...lease }) => lease),
];

/** From this part on a network is nearly full. */
const NEARLY_FULL = 0.8;

const HEAD = ['SUBNET', 'PUBLIC IP', 'BACKEND', 'LEASE', 'STATE', 'NODE'];
const CUT = ['NODE', 'SUBNET', 'PUBLIC IP'].map((title) => HEAD.indexOf(title));

/** How much is used, the leases as a table, and why some are not used. */
export function formatLeases(
  answer: Leases,
  { width, hasColour }: Pick<Screen, 'width' | 'hasColour'>,
): string[] {
  const { leases } = answer;
  const rows = leases.toSorted(bySubnet).map(rowOf);
  const head = HEAD.map((text): Cell => ({ text, tone: 'title' }));
  return [
    ...usageLines(answer, hasColour),
    ...(rows.length === 0
      ? []
      : formatTable([head, ...rows], { width, hasColour, cut: CUT, right: [HEAD.indexOf('LEASE')] })),
    ...leases
      .toSorted(bySubnet)
      .flatMap(({ lease, subnet = lease, quarantined }) =>
        quarantined === undefined ? [] : noteLines(`${subnet}: ${quarantined}`, width),
      ),
  ];
}

function usageLines({ leases, ipv6, ...first }: Leases, hasColour: boolean): string[] {
  // The family with the fewest subnets left says how many hosts can join.
  const families = [first, ...(ipv6 === undefined ? [] : [ipv6])];
  const {
    capacity,
    used,
    network: scarce,
  } = families.reduce((a, b) => (b.capacity - b.used < a.capacity - a.used ? b : a));
  const refused = leases.filter(({ quarantined }) => quarantined !== undefined).length;
  const lines = families.map(lineOf);
  const last = lines.pop() ?? '';
  const state = used >= capacity ? 'full' : used >= NEARLY_FULL * capacity ? 'nearly full' : undefined;
  return [
    ...lines,
    refused === 0 ? last : `${last}, ${refused} quarantined`,
    ...(state === undefined
      ? []
      : [
          inTone(
            `the network is ${state}: no more than ${capacity - used} hosts can join it`,
            'warning',
            hasColour,
          ),
          `  release the leases of hosts that are gone with "weft release SUBNET", or use a larger ${scarce.includes(':') ? 'IPv6Network' : 'Network'}`,
        ]),
  ];
}

function lineOf({ network, subnetLength, capacity, used }: SubnetCounts): string {
  const percent = capacity === 0 ? 100 : Math.floor((100 * used) / capacity);
  return `network ${network}: ${used} of ${capacity} subnets of /${subnetLength} are leased (${percent}%)`;
}

function rowOf(view: LeaseView): Cell[] {
  const { lease, subnet = lease, ipv6Subnet, publicIp = '-', publicIpv6, backend = '', node = '-' } = view;
  const both = (first: string, second: string | undefined): string =>
    second === undefined ? first : `${first} ${second}`;
  return [
    both(subnet, ipv6Subnet),
    both(publicIp, publicIpv6),
    backend || '-',
    leftOf(view),
    stateOf(view),
    node,
  ];
}

function leftOf({ expiry, remainingSeconds }: LeaseView): string {
  if (expiry === 'reservation') return 'no end';
  return remainingSeconds === undefined ? '-' : formatSpan(remainingSeconds * 1000);
}

function stateOf({ own, quarantined }: LeaseView): { readonly text: string; readonly tone: Tone } {
  if (quarantined !== undefined) return { text: 'quarantined', tone: 'warning' };
  return own ? { text: 'own', tone: 'title' } : { text: 'used', tone: 'good' };
}
