import assert from 'node:assert/strict';
import type { Daemon } from '#src/lab/daemon.ts';
import type { Host } from '#src/lab/host.ts';
import { until } from '#src/sys/until.ts';
import { PREFIX } from './flanneld.ts';
import type { Network, Node } from './network.ts';
import { statusOf } from './node-status.ts';

/**
 * Faults of one network of three hosts, each of which a diagnosis on the first host names by one check:
 *
 *     store .190 etcd v3      h1 .191 (the patient)      h2 .192      h3 .193      each: flanneld ── docker0 ── c
 *
 * What a running flanneld mends at once is done while it is stopped: `isStopped`.
 */
export interface FaultCase {
  /** The check that finds it. */
  readonly id: string;
  /** The patient's flanneld is stopped while it lasts: this is found as well. */
  readonly isStopped?: true;
  /** It is also why flanneld does not run: that is not said beside it. */
  readonly explainsStop?: true;
  /** flanneld's flags as the diagnosis gets them, where they are not those of the daemon. */
  readonly flags?: (flags: readonly string[], lab: FaultLab) => readonly string[];
  inject(lab: FaultLab): Promise<unknown>;
  mend(lab: FaultLab): Promise<unknown>;
}

export interface FaultLab {
  readonly network: Network;
  readonly one: Node;
  readonly two: Node;
  readonly three: Node;
}

export function faultLab(network: Network): FaultLab {
  const [one, two, three] = network.nodes;
  assert.ok(one && two && three);
  return { network, one, two, three };
}

export const PORT = 8472;
export const DEVICE = 'flannel.1';

/** Runs a line of shell on the patient. */
export const sh =
  (line: string | ((lab: FaultLab) => string)) =>
  (lab: FaultLab): Promise<unknown> =>
    lab.one.host.must(['sh', '-c', typeof line === 'string' ? line : line(lab)]);

export const shOn =
  (which: 'two' | 'three', line: string) =>
  (lab: FaultLab): Promise<unknown> =>
    lab[which].host.must(['sh', '-c', line]);

/** A program that does nothing, under another program's name and words. */
export function stub(
  host: Host,
  name: string,
  words: readonly string[],
  code = 'setInterval(() => {}, 1e6)',
): Promise<Daemon> {
  const line = 'name=$1; node=$2; shift 2; exec -a "$name" "$node" -e "$@"';
  return host.start(`stub-${name}`, [
    'bash',
    '-c',
    line,
    'bash',
    name,
    process.execPath,
    code,
    '--',
    ...words,
  ]);
}

export const stubRuns =
  (name: string, words: (lab: FaultLab) => readonly string[], code?: string) =>
  async ({ one, ...lab }: FaultLab): Promise<void> => {
    const daemon = await stub(one.host, name, words({ one, ...lab }), code);
    await until(
      async () => (await one.host.must(['cat', `/proc/${daemon.pid}/cmdline`])).startsWith(`${name}\0`),
      {
        what: `the program ${name}`,
      },
    );
  };

export const stubEnds =
  (name: string) =>
  async ({ one }: FaultLab): Promise<void> => {
    await (await one.host.daemon(`stub-${name}`))?.stop();
  };

export const dockerd = (words: (lab: FaultLab) => readonly string[]): Pick<FaultCase, 'inject' | 'mend'> => ({
  inject: stubRuns('dockerd', words),
  mend: stubEnds('dockerd'),
});

export const bip = ({ one }: FaultLab): string => `--bip=${one.subnet}.1/24`;

/** A lease of a host that does not exist. The number is free in every network of three. */
export const LEASE = `${PREFIX}/subnets/10.0.251.0-24`;
export const value = (ip: string, mac: string, vni = 1, backend = 'vxlan'): string =>
  `{"PublicIP":"${ip}","BackendType":"${backend}","BackendData":{"VNI":${vni},"VtepMAC":"${mac}"}}`;

export const lease = (
  text: (lab: FaultLab) => Promise<string> | string,
): Pick<FaultCase, 'inject' | 'mend'> => ({
  async inject(lab) {
    await lab.network.etcd.must(3, ['put', LEASE, await text(lab)]);
    await quarantined(lab, true);
  },
  async mend(lab) {
    await lab.network.etcd.must(3, ['del', LEASE]);
    await quarantined(lab, false);
  },
});

/** Waits until the patient's daemon has put the lease, or those that it clashes with, into quarantine, or out of it. */
export async function quarantined({ one }: FaultLab, isSo: boolean): Promise<void> {
  await until(
    async () => {
      const { peers } = await statusOf(one.host);
      return peers.quarantined.length > 0 === isSo;
    },
    { what: `a lease ${isSo ? 'in' : 'out of'} quarantine`, timeoutMs: 10_000, intervalMs: 100 },
  );
}

export async function peerLease({ network, two }: FaultLab): Promise<{ ip: string; mac: string }> {
  const key = `${PREFIX}/subnets/${two.subnet}.0-24`;
  const text = await network.etcd.must(3, ['get', '--print-value-only', key]);
  const { PublicIP: ip, BackendData } = JSON.parse(text) as {
    PublicIP: string;
    BackendData: { VtepMAC: string };
  };
  return { ip, mac: BackendData.VtepMAC };
}

/** The patient's own lease: its key, and its value without an end of line. */
export async function ownLease({ network, one }: FaultLab): Promise<{ key: string; text: string }> {
  const key = `${PREFIX}/subnets/${one.subnet}.0-24`;
  const text = await network.etcd.must(3, ['get', '--print-value-only', key]);
  return { key, text: text.trim() };
}

export interface OtherEtcd {
  readonly name?: string;
  /** `--initial-cluster`; alone without it. */
  readonly cluster?: (lab: FaultLab) => string;
  readonly words?: readonly string[];
  /** Of etcdctl, when it serves. */
  readonly steps?: readonly (string | ((lab: FaultLab) => Promise<string>))[];
}

/** A second etcd on the store's host, for a diagnosis alone. */
export const otherEtcd = (
  port: number,
  { words = [], steps = [], name = 'other', cluster }: OtherEtcd,
): Pick<FaultCase, 'inject' | 'mend' | 'flags'> => {
  const urlOf = (lab: FaultLab, offset = 0): string =>
    `http://${lab.network.lab.store.address}:${port + offset}`;
  return {
    flags: (flags, lab) => [
      ...flags.filter((flag) => !flag.startsWith('-etcd-endpoints')),
      `-etcd-endpoints=${urlOf(lab)}`,
    ],
    async inject(lab) {
      const { store } = lab.network.lab;
      await store.start(`etcd-${port}`, [
        'etcd',
        ...[`--name=${name}`, `--data-dir=/run/etcd-${port}`],
        ...(cluster === undefined ? [] : [`--initial-cluster=${cluster(lab)}`]),
        ...[`--listen-client-urls=${urlOf(lab)}`, `--advertise-client-urls=${urlOf(lab)}`],
        ...[`--listen-peer-urls=${urlOf(lab, 1)}`, `--initial-advertise-peer-urls=${urlOf(lab, 1)}`],
        ...words,
      ]);
      // It listens before it serves.
      const ask = ['env', 'ETCDCTL_API=3', 'etcdctl', `--endpoints=${urlOf(lab)}`, 'get', 'x'];
      await until(async () => (await store.run(ask)).code === 0, {
        what: 'another etcd',
        timeoutMs: 20_000,
      });
      for (const step of steps) {
        const words = typeof step === 'string' ? step : await step(lab);
        const setting = `export ETCDCTL_API=3 ETCDCTL_ENDPOINTS=${urlOf(lab)}`;
        await store.must(['sh', '-c', `${setting}; etcdctl ${words}`]);
      }
    },
    async mend(lab) {
      const { store } = lab.network.lab;
      const daemon = await store.daemon(`etcd-${port}`);
      daemon?.kill('SIGKILL');
      await daemon?.exited();
    },
  };
};

/** The same with two members, one of which is killed when both are in office: the other has no majority. */
export const twoMembers = (port: number): Pick<FaultCase, 'inject' | 'mend' | 'flags'> => {
  const cluster = (lab: FaultLab): string =>
    ['other', 'second']
      .map((name, n) => `${name}=http://${lab.network.lab.store.address}:${port + 1 + 10 * n}`)
      .join(',');
  const [first, second] = [port, port + 10].map((at, n) =>
    otherEtcd(at, { name: n === 0 ? 'other' : 'second', cluster }),
  );
  assert.ok(first && second);
  return {
    ...first,
    async inject(lab) {
      await Promise.all([first.inject(lab), second.inject(lab)]);
      await second.mend(lab);
      // It is the leader for an election's time after it has lost the other one.
      const { store } = lab.network.lab;
      const endpoint = `--endpoints=http://${store.address}:${port}`;
      const ask = ['env', 'ETCDCTL_API=3', 'etcdctl', endpoint, 'endpoint', 'status', '-w', 'json'];
      const hasNoLeader = async (): Promise<boolean> => {
        const { code, stdout } = await store.run(ask);
        return code === 0 && !/"leader":[1-9]/.test(stdout);
      };
      await until(hasNoLeader, { what: 'a member without a leader', timeoutMs: 20_000 });
    },
  };
};

/** Answers `/health` as etcd does, with a clock of its own. */
export const SKEWED = `require('http').createServer((q, a) => {
  a.setHeader('date', new Date(Date.now() + 3600e3).toUTCString());
  a.end('{"health":"true"}');
}).listen(2395, '0.0.0.0')`;

export const NFT_DROP = (table: string, verdict: string): string =>
  `nft -f - <<'END'
table inet ${table} {
  chain late { type filter hook forward priority 20; policy accept; iifname "${DEVICE}" ${verdict}; }
}
END`;
