import { join } from 'node:path';
import type { Host } from '#src/lab/host.ts';
import { Lab } from '#src/lab/lab.ts';
import { allContainers } from '#src/lab/reach.ts';
import { WeftError } from '#src/lib/errors.ts';
import { containsAddress, parseIpv4, parsePrefix4 } from '#src/lib/ip.ts';
import type { UiPlace, UiSource } from '#src/ui/server/ui-source.ts';

/** The default of flanneld's `--state-dir`. */
const STATE_DIR = '/var/lib/weft';
const DRIVER_SOCKET = 'docker-driver.sock';
const SOCKET = /^network-([0-9a-f]{12})\.sock$/;

/**
 * All hosts of a lab: one API for each, seen from the machine through the host's folder. `weft` is the command that runs this
 * program.
 */
export function labPlace(lab: Lab, weft: readonly string[]): UiPlace {
  return {
    title: `lab ${lab.name}`,
    async sources() {
      // A host that has been added meanwhile is in the lab's record.
      const { hosts } = await Lab.open(lab.components, { name: lab.name, root: lab.root });
      return (await Promise.all(hosts.map(sourcesOf))).flat();
    },
    async ends() {
      return (await allContainers(lab)).map(({ name }) => name);
    },
    async trace(from, to) {
      const containers = await allContainers(lab);
      const find = (word: string) =>
        containers.find(({ name, address }) => word === name || word === address);
      const host = find(from)?.host ?? (await hostWith(lab, from));
      const ends = [from, to].map((word) => find(word)?.address ?? word);
      return host.enter([...weft, 'trace', '--json', ...ends]);
    },
  };
}

async function sourcesOf(host: Host): Promise<UiSource[]> {
  const folder = host.path(STATE_DIR);
  const names = await host.components.folders.list(folder);
  const digests = names.flatMap((name) => SOCKET.exec(name)?.[1] ?? []);
  const driver = names.includes(DRIVER_SOCKET)
    ? [
        {
          id: `${host.name}-docker`,
          host: host.name,
          kind: 'driver',
          socket: join(folder, DRIVER_SOCKET),
        } as const,
      ]
    : [];
  const networks = digests.map(
    (digest): UiSource => ({
      id: digests.length === 1 ? host.name : `${host.name}-${digest}`,
      host: host.name,
      kind: 'network',
      socket: join(folder, `network-${digest}.sock`),
    }),
  );
  return [...networks, ...driver];
}

/** The host on whose underlay address or in whose subnet an address is. */
async function hostWith(lab: Lab, word: string): Promise<Host> {
  const address = parseIpv4(word);
  for (const host of lab.hosts) {
    if (host.address === word) return host;
    const bip = /^FLANNEL_SUBNET=(.+)$/m.exec((await host.read('/run/flannel/subnet.env')) ?? '')?.[1];
    const subnet = parsePrefix4(bip ?? '');
    if (address !== undefined && subnet !== undefined && containsAddress(subnet, address)) return host;
  }
  throw new WeftError(
    'no-such-container',
    `lab ${lab.name} has no container ${word} and no host with that address`,
    {
      remedy: '"weft lab status" lists them',
    },
  );
}
