import { flushCompileCache } from 'node:module';
import type { CommandEntry } from '#src/cli/command.ts';

/** The commands of weft, in the order of its help. Usage, completion and the program itself are made from this table. */
export const COMMANDS: Readonly<Record<string, CommandEntry>> = {
  lab: {
    about: 'a whole network of hosts on this machine: weft lab --help',
    load: async () => (await import('#src/cli/lab-command.ts')).LAB,
  },
  network: {
    about: "flannel's and Docker's networks: weft network --help",
    load: async () => (await import('#src/cli/network-command.ts')).NETWORK,
  },
  address: {
    about: "the addresses of Docker's networks: weft address --help",
    load: async () => (await import('#src/cli/address-command.ts')).ADDRESS,
  },
  move: {
    about: 'move a container of a Docker network to another host: weft move --help',
    load: async () => (await import('#src/cli/move-command.ts')).MOVE,
  },
  store: {
    about: 'the embedded store, for a site without etcd: weft store --help',
    async load() {
      const { STORE } = await import('#src/cli/store-command.ts');
      // A store that is killed leaves its compiled code for the next one.
      flushCompileCache();
      return STORE;
    },
  },
  status: {
    about: 'what the flanneld on this host knows: subnet, peers, troubles',
    load: async () => (await import('#src/cli/status-command.ts')).STATUS,
  },
  peers: {
    about: 'the other hosts of the network, what was measured of them, and what is wrong with them',
    load: async () => (await import('#src/cli/peers-command.ts')).PEERS,
  },
  leases: {
    about: 'all leases of the network, how much of it is used, and which leases are not used, and why',
    load: async () => (await import('#src/cli/leases-command.ts')).LEASES,
  },
  events: {
    about: 'what happened on this host: repairs, leases that came and went, how the registry was',
    load: async () => (await import('#src/cli/events-command.ts')).EVENTS,
  },
  rotate: {
    about: 'renew the WireGuard keys of the network now, without a lost packet',
    load: async () => (await import('#src/cli/rotate-command.ts')).ROTATE,
  },
  doctor: {
    about: "what is wrong on this host, why it matters, and what mends it; takes flanneld's flags",
    load: async () => (await import('#src/cli/doctor-command.ts')).DOCTOR,
  },
  capture: {
    about: "the overlay's frames as they pass, taken apart, or from a file: weft capture --help",
    load: async () => (await import('#src/cli/capture-command.ts')).CAPTURE,
  },
  routes: {
    about: 'which way packets to an address go from this host, and why: weft routes 10.0.65.2',
    load: async () => (await import('#src/cli/routes-command.ts')).ROUTES,
  },
  report: {
    about: 'one archive about this host for a bug report, without secrets: weft report --help',
    load: async () => (await import('#src/cli/report-command.ts')).REPORT,
  },
  trace: {
    about: 'the way of a packet between two containers, hop by hop: weft trace FROM TO',
    load: async () => (await import('#src/cli/trace-command.ts')).TRACE,
  },
  plan: {
    about: "what a start of flanneld would change on this host, as commands; takes flanneld's flags",
    load: async () => (await import('#src/cli/node-command.ts')).NODE.plan,
  },
  cleanup: {
    about: 'remove what flanneld made on this host for one network, or with --all for every one',
    load: async () => (await import('#src/cli/node-command.ts')).NODE.cleanup,
  },
  release: {
    about: "give this host's lease back, or the one named: weft release 10.0.65.0/24",
    load: async () => (await import('#src/cli/node-command.ts')).NODE.release,
  },
  trust: {
    about: 'whose leases this host uses, and the keys of the hosts: weft trust --help',
    load: async () => (await import('#src/cli/trust-command.ts')).TRUST,
  },
  'import-flannel': {
    about: 'the settings of the flannel that is installed on this host, as /etc/weft/flanneld.conf',
    load: async () => (await import('#src/cli/import-flannel-command.ts')).IMPORT_FLANNEL,
  },
  ui: {
    about: 'serve a page about this host: its links, objects, events, the last hour',
    load: async () => (await import('#src/cli/ui-command.ts')).UI,
  },
  completion: {
    about: 'completion of these words in a shell: weft completion bash|zsh|fish',
    load: async () => (await import('#src/cli/completion-command.ts')).COMPLETION,
  },
  'self-check': {
    about: 'whether what is installed here is right: files, rights, units, kernel, Docker',
    load: async () => (await import('#src/cli/self-check-command.ts')).SELF_CHECK,
  },
  version: {
    about: 'what is installed here, and whether the flanneld that runs is of the same version',
    load: async () => (await import('#src/cli/version-command.ts')).VERSION_COMMAND,
  },
  namespace: {
    about: "make the network namespace of Docker's networks, as flanneld's unit does before each start",
    load: async () => (await import('#src/cli/namespace-command.ts')).NAMESPACE,
  },
};

const NAME_WIDTH = Math.max(...Object.keys(COMMANDS).map((name) => name.length));

/** `weft --help` */
export const USAGE = [
  'Usage: weft COMMAND …; weft COMMAND --help explains a command',
  ...Object.entries(COMMANDS).map(([name, { about }]) => `  ${name.padEnd(NAME_WIDTH)} ${about}`),
].join('\n');
