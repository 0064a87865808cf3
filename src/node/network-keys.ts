import { ChangingBackend } from '#src/backend/changing.ts';
import type { KeySide } from '#src/backend/rotation-keys.ts';
import { sideDevices } from '#src/backend/wireguard-tunnel.ts';
import type { HostEvents } from '#src/lib/host-events.ts';
import { formatPrefix } from '#src/lib/ip.ts';
import type { Logger } from '#src/lib/log.ts';
import type { SecretSource } from '#src/node/backend-secrets.ts';
import type { DataPath } from '#src/node/data-path.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import { KeyRotation, type RotatedNetwork } from '#src/node/key-rotation.ts';
import type { NetworkHost } from '#src/node/network-host.ts';

export type { KeyRotation };

/** The rotation of one network's keys on this host. Nothing is read before it is asked for. */
export const keyRotation = (
  { secrets, wireguard, clock, random }: NetworkHost,
  shared: { readonly log: Logger; readonly events: HostEvents },
  { wireguardRotate, wireguardRotateWait }: FlanneldOptions,
): KeyRotation =>
  new KeyRotation(
    {
      keys: secrets.rotated,
      figures: async (device) => (await wireguard?.reports(device)) ?? [],
      clock,
      random,
      ...shared,
    },
    { intervalMs: wireguardRotate, patienceMs: wireguardRotateWait },
  );

/** Where a backend needs the node's key, what is known of its rotation comes with it. */
export const rotatedSecrets = (
  { secrets, wireguard }: Pick<NetworkHost, 'secrets' | 'wireguard'>,
  rotation: KeyRotation,
): Pick<SecretSource, 'read'> => ({
  read: async (names) =>
    names.includes('wireguard-key')
      ? rotation.secrets((current, next) => sideOf(wireguard, current, next))
      : secrets.read(names),
});

/** On which side the devices of the current key are. Without any the first side is as good as the other. */
async function sideOf(
  wireguard: NetworkHost['wireguard'],
  current: string,
  next: string | undefined,
): Promise<KeySide> {
  const keysOn = async (side: KeySide): Promise<string[]> => {
    const keys: string[] = [];
    for (const device of sideDevices(side))
      await wireguard?.scan({ kinds: ['wireguard-device'], device }, (object) => {
        if (object.kind === 'wireguard-device') keys.push(object.publicKey);
      });
    return keys;
  };
  const [a, b] = [await keysOn('a'), await keysOn('b')];
  return b.includes(current) || (next !== undefined && a.includes(next)) ? 'b' : 'a';
}

/** Devices by the destinations of the routes over them, as the kernel has them. */
export async function routesFound({ kernel }: Pick<NetworkHost, 'kernel'>): Promise<Map<string, string>> {
  const devices = new Map<string, string>();
  for (const object of await kernel.dump({ kinds: ['route'] })) {
    if (object.kind === 'route' && object.device !== undefined)
      devices.set(formatPrefix(object.destination), object.device);
  }
  return devices;
}

/** What a rotation left that was cut off at its very end. */
export async function removeSpareDevices(
  { kernel }: Pick<NetworkHost, 'kernel'>,
  { intent }: Pick<DataPath, 'intent'>,
): Promise<void> {
  const ours = [...sideDevices('a'), ...sideDevices('b')];
  const spare = (await kernel.links()).filter(
    ({ name, type }) => type === 'wireguard' && ours.includes(name) && !intent.backend.devices.includes(name),
  );
  await kernel.apply(spare.map(({ name }) => ({ verb: 'remove', object: { kind: 'link', name } })));
}

/** A network's data path, as the rotation of its keys sees it. `apply` and `isPublished`: of the network that runs. */
export const rotatedNetwork = (
  dataPath: DataPath,
  running: Pick<RotatedNetwork, 'apply' | 'isPublished'>,
): RotatedNetwork => ({
  devicesOf: (role) => dataPath.intent.backend.keyDevices?.(role) ?? [],
  leases: () => dataPath.table.leases(),
  replan: (names) => dataPath.inbox.replan(names),
  obstacle: () =>
    dataPath.intent.backend instanceof ChangingBackend ? 'the network changes its backend' : undefined,
  ...running,
});
