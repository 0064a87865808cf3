import { type Check, some } from '#src/diagnose/check.ts';
import { known, NoFact } from '#src/diagnose/facts/fact.ts';
import type { HostFacts } from '#src/diagnose/host-facts.ts';
import { addressAfter, formatIp, formatPrefix, type Prefix, parsePrefix } from '#src/lib/ip.ts';
import type { NodeStatus } from '#src/observe/node-status.ts';
import type { RunningProgram } from '#src/sys/process-list.ts';

const STARTED = 'systemctl start flanneld; journalctl -u flanneld -n 20 says why it ended';

/** What a running flanneld says; throws NoFact where it says nothing. */
function statusOf({ daemon }: HostFacts): NodeStatus {
  if (daemon.state === 'running') return daemon.status;
  throw new NoFact({ kind: 'unknown', why: 'flanneld does not answer: what it knows is not known' });
}

/** The etcd prefix that a flanneld was started with. */
function prefixOf({ argv }: RunningProgram): string {
  const at = argv.findIndex((word) => /^--?etcd-prefix(=|$)/.test(word));
  const word = argv[at] ?? '';
  const given = word.includes('=') ? word.slice(word.indexOf('=') + 1) : at < 0 ? undefined : argv[at + 1];
  return given ?? '/coreos.com/network';
}

/** A flanneld of any make, run by itself or by an interpreter. */
export const isFlanneld = ({ argv }: RunningProgram): boolean =>
  argv.slice(0, 3).some((word) => /(^|\/)flanneld(\.ts)?$/.test(word));

/** The lines of one family by what follows FLANNEL_. */
const linesOf = (
  family: string,
  network: Prefix | undefined,
  subnet: Prefix | undefined,
): Readonly<Record<string, string>> =>
  network === undefined || subnet === undefined
    ? {}
    : {
        [`${family}NETWORK`]: formatPrefix(network),
        [`${family}SUBNET`]: `${formatIp(addressAfter(subnet, 1))}/${subnet.length}`,
      };

export const DAEMON_CHECKS: readonly Check[] = [
  {
    id: 'daemon-not-running',
    title: 'flanneld runs',
    why: 'Packets still flow as they did, but nothing follows a change, and the lease ends some day.',
    causes: ['lease-near-expiry', 'lease-missing'],
    look({ daemon, network, place }) {
      known(network);
      if (daemon.state !== 'stopped') return undefined;
      return { what: `flanneld does not run: nobody listens on ${place.socket}.`, remedy: STARTED };
    },
  },
  {
    id: 'daemon-silent',
    title: 'flanneld answers',
    why: 'A process that hangs repairs nothing and does not renew the lease.',
    causes: ['lease-near-expiry', 'lease-missing'],
    look: ({ daemon, place }) =>
      daemon.state === 'silent'
        ? {
            what: `flanneld holds ${place.socket} but does not answer.`,
            remedy: 'systemctl restart flanneld',
          }
        : undefined,
  },
  {
    id: 'daemon-socket',
    title: "flanneld's socket is flanneld's",
    why: 'Another program that answers there keeps flanneld from starting.',
    causes: ['daemon-not-running'],
    look: ({ daemon, place }) =>
      daemon.state === 'unknown'
        ? {
            what: `What answers at ${place.socket} can't be asked: ${daemon.why}.`,
            remedy: `ss -xlp src ${place.socket} names the program: stop it`,
          }
        : undefined,
  },
  {
    id: 'second-daemon',
    title: 'one flanneld serves the network',
    why: 'Two that serve one network, one of them not weft, undo what the other did.',
    causes: [],
    look({ programs }) {
      const byPrefix = Map.groupBy(programs.filter(isFlanneld), prefixOf);
      for (const [prefix, running] of byPrefix) {
        const pids = running.map(({ pid }) => pid);
        if (pids.length > 1)
          return {
            what: `${pids.length} processes serve the network ${prefix} on this host: ${pids.join(', ')}.`,
            remedy: `stop one of them: systemctl status ${pids.join(' ')} names their units`,
          };
      }
      return undefined;
    },
  },
  {
    id: 'subnet-file',
    title: 'subnet.env is there and says what the lease says',
    why: 'Docker takes the address of its bridge and its MTU from this file when it starts.',
    causes: ['docker-bip', 'docker-mtu'],
    look(facts) {
      const { mtu, source, networks, subnets } = known(facts.network);
      const { subnetFile: text, place } = facts;
      const remedy = 'systemctl restart flanneld, which writes it; then systemctl restart docker';
      if (source === 'subnet-file') return undefined;
      if (text === undefined) return { what: `There is no ${place.subnetFile}.`, remedy };
      const value = (name: string): string => new RegExp(`^FLANNEL_${name}=(.*)$`, 'm').exec(text)?.[1] ?? '';
      const wanted = {
        ...linesOf('', networks.v4, subnets.v4),
        ...linesOf('IPV6_', networks.v6, subnets.v6),
        MTU: String(mtu),
      };
      const wrong = Object.entries(wanted).filter(([name, expected]) => {
        const found = value(name);
        const prefix = parsePrefix(found);
        return (prefix === undefined ? found : formatPrefix(prefix)) !== expected;
      });
      if (wrong.length === 0) return undefined;
      const words = wrong.map(
        ([name, expected]) => `FLANNEL_${name}=${value(name)}, and ${expected} is right`,
      );
      return { what: `${place.subnetFile} is not of this network: ${words.join('; ')}.`, remedy };
    },
  },
  {
    id: 'kernel-failing',
    title: 'the kernel takes what flanneld sets',
    why: 'What the kernel refuses is missing on the way of some packets.',
    causes: [],
    lastResort: true,
    look(facts) {
      const { failing } = statusOf(facts).kernel;
      if (failing.length === 0) return undefined;
      return {
        what: `${failing.length} objects are not as wanted: ${some(failing.map(({ key, reason }) => `${key}: ${reason}`))}.`,
        remedy: 'weft status lists all of them with the reasons',
      };
    },
  },
  {
    id: 'not-ready',
    title: 'flanneld says that it is ready',
    why: 'It says what it waits for, or what keeps packets from flowing.',
    causes: [],
    lastResort: true,
    look(facts) {
      const { ready, troubles } = statusOf(facts);
      if (ready) return undefined;
      return {
        what: `flanneld is not ready: ${troubles.join('; ')}.`,
        remedy: 'journalctl -u flanneld -n 50 has what it logged',
      };
    },
  },
];
