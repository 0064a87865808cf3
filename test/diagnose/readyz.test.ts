import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { Host } from '#src/lab/host.ts';
import { until } from '#src/sys/until.ts';
import { flanneldOn, sharedNetwork } from '../faults/suite.ts';
import { pairOf } from '../support/network.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * /readyz of one host names what keeps the overlay's packets from passing there, and is ready again once it is mended:
 *
 *     store .190     h1 .191 flanneld ── docker0 ── c     h2 .192 flanneld ── docker0 ── c
 *                     └ /readyz on 127.0.0.1:8081
 */
const skip = cannotRun('curl', 'ping', 'nft', 'iptables');
const PORT = 8081;
/** A look waits up to ten seconds, as a registry does that is asked again; the rest is for a loaded machine. */
const PATIENCE_MS = 40_000;
/** A third of it is the bound of a silent registry. */
const LEASE_TTL = '30s';
const network = sharedNetwork(skip, {
  api: 3,
  store: 'embedded',
  flags: [`--healthz-port=${PORT}`, `--lease-ttl=${LEASE_TTL}`],
});
const one = (): Host => pairOf(network())[0].host;

interface Readyz {
  readonly code: number;
  readonly body: string;
}

async function readyz(host: Host): Promise<Readyz> {
  const url = `http://127.0.0.1:${PORT}/readyz`;
  const text = await host.must(['curl', '-s', '-w', '\n%{http_code}', url]);
  const [body = '', code = ''] = text.split('\n');
  return { code: Number(code), body };
}

async function untilReady(host: Host): Promise<void> {
  let last: Readyz | undefined;
  const isReady = async () => {
    last = await readyz(host);
    return last.code === 200;
  };
  await until(isReady, { what: '/readyz to be ready', timeoutMs: PATIENCE_MS, intervalMs: 100 }).catch(
    (error) => {
      throw new Error(`${error instanceof Error ? error.message : error}: ${last?.body}`);
    },
  );
}

/** Waits until /readyz says so, in one of its clauses. */
async function untilNamed(host: Host, pattern: RegExp): Promise<void> {
  let last: Readyz | undefined;
  const isNamed = async () => {
    last = await readyz(host);
    return last.code === 503 && pattern.test(last.body);
  };
  await until(isNamed, { what: `${pattern} of /readyz`, timeoutMs: PATIENCE_MS, intervalMs: 100 }).catch(
    (error) => {
      throw new Error(`${error instanceof Error ? error.message : error}: ${last?.body}`);
    },
  );
}

interface Fault {
  readonly name: string;
  readonly begin: (host: Host, peer: string) => Promise<unknown>;
  readonly end: (host: Host, peer: string) => Promise<unknown>;
  readonly says: RegExp;
}

/** firewalld's forward chain, whose reject comes after all of iptables' rules. */
const FIREWALLD = `table inet firewalld {
  chain filter_FORWARD {
    type filter hook forward priority filter + 10; policy accept;
    ct state established,related accept
    iifname "lo" accept
    reject with icmpx admin-prohibited
  }
}`;

const FAULTS: readonly Fault[] = [
  {
    name: "firewalld's table rejects what is forwarded",
    begin: (host) => host.must(['nft', '-f', '-'], { stdin: FIREWALLD }),
    end: (host) => host.must(['nft', 'delete', 'table', 'inet', 'firewalld']),
    says: /nftables drops packets of the overlay: table inet firewalld, chain filter_FORWARD/,
  },
  {
    name: 'the bridge forwards nothing',
    begin: (host) => host.must(['sysctl', '-qw', 'net.ipv4.conf.docker0.forwarding=0']),
    end: (host) => host.must(['sysctl', '-qw', 'net.ipv4.conf.docker0.forwarding=1']),
    says: /docker0 forwards no packets: .* run "sysctl -w net\.ipv4\.conf\.docker0\.forwarding=1"/,
  },
  {
    name: 'a rule sends the range elsewhere',
    begin: (host) =>
      host.batch(['rule add to 10.0.0.0/16 lookup 100', `route add default dev eth0 table 100`]),
    end: (host) => host.batch(['rule del to 10.0.0.0/16 lookup 100', 'route flush table 100']),
    says: /leave by eth0 instead of flannel\.1: routing table 100 comes first; "ip rule"/,
  },
  {
    name: 'a table fills to which a rule of before leads',
    begin: async (host) => {
      await host.batch(['rule add iif docker0 lookup 101']);
      await untilReady(host);
      await host.batch(['route add prohibit 10.0.0.0/16 table 101']);
    },
    end: (host) => host.batch(['rule del iif docker0 lookup 101', 'route flush table 101']),
    says: /packets from docker0 to [\d./]+ are not forwarded: a route or rule prohibits them/,
  },
  {
    name: 'another program has a narrower route',
    begin: (host, peer) => host.batch([`route add ${peer}.128/25 dev eth0`]),
    end: (host, peer) => host.batch([`route del ${peer}.128/25 dev eth0`]),
    says: /leave by eth0 instead of flannel\.1: another route takes them; "ip route get /,
  },
  {
    name: 'packets from peers go past the bridge',
    begin: (host) =>
      host.batch(['rule add iif flannel.1 lookup 102', 'route add default dev eth0 table 102']),
    end: (host) => host.batch(['rule del iif flannel.1 lookup 102', 'route flush table 102']),
    says: /on flannel\.1 to [\d./]+ leave by eth0 instead of docker0: routing table 102/,
  },
  {
    name: "the overlay's device is gone, and another program's has its VNI",
    begin: async (host) => {
      const daemon = await flanneldOn(host);
      daemon.kill('SIGSTOP');
      await host.batch([
        'link del flannel.1',
        'link add other0 type vxlan id 1 dev eth0 dstport 8472',
        'link set other0 up',
      ]);
      daemon.kill('SIGCONT');
    },
    end: (host) => host.batch(['link del other0']),
    says: /kernel objects are not as wanted: link flannel\.1: .*other0/,
  },
  {
    name: 'another program keeps turning forwarding off',
    begin: async (host) => {
      const loop = 'while :; do sysctl -qw net.ipv4.ip_forward=0; sleep 0.05; done';
      await host.start('adversary', ['sh', '-c', loop]);
    },
    end: async (host) => (await host.daemon('adversary'))?.stop(),
    says: /not been as wanted for more than 10 s: sysctl net\/ipv4\/|forwards no packets: its forwarding is off/,
  },
];

after(async () => {
  if (skip === false) await (await one().daemon('adversary'))?.stop();
});

for (const { name, begin, end, says } of FAULTS) {
  test(`${name}: named, and gone when it is mended`, { skip }, async () => {
    const [{ host }, { subnet }] = pairOf(network());
    await untilReady(host);
    await begin(host, subnet);
    await untilNamed(host, says);
    await end(host, subnet);
    await untilReady(host);
  });
}

test('/healthz stays as it is, and a registry that is silent for too long is named', { skip }, async () => {
  const host = one();
  const { members } = network().etcd;
  await untilReady(host);
  for (const member of members) await member.kill();
  await untilNamed(host, /the registry has been silent for more than 10 s .*see that etcd runs/);
  assert.equal(await host.must(['curl', '-s', `http://127.0.0.1:${PORT}/healthz`]), 'flanneld is running');
  for (const member of members) await member.start();
  await untilReady(host);
});
