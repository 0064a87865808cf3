import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { Capture } from '#src/lab/capture.ts';
import type { Container } from '#src/lab/container.ts';
import type { Host } from '#src/lab/host.ts';
import { until } from '#src/sys/until.ts';
import { type DockerNetwork, runWeb } from './docker-network.ts';

/*
 * A host on the underlay that knows a way to the containers of h1, and tries to get in:
 *
 *     stranger .190 ── route 10.0.A.2 via .191 ──┬─ h1 .191 ── docker0 ── web 10.0.A.2
 *     also as 10.0.B.77, an overlay address      └─ h2 .192 ── docker0 ── web 10.0.B.2
 */

/** The stranger's address of the overlay, on h2's subnet. */
export const forgedAddress = ({ nodes: [, two] }: DockerNetwork): string => `${two.subnet}.77`;

/** Gives the store's host an address of the overlay too. */
export async function strangerOn(network: DockerNetwork): Promise<Host> {
  const {
    lab,
    nodes: [one],
  } = network;
  await lab.store.batch([`addr add ${forgedAddress(network)}/32 dev lo`]);
  // Without the kernel's own look at source addresses, which not every host has.
  for (const device of ['all', 'eth0'])
    await one.host.must(['sysctl', '-qw', `net.ipv4.conf.${device}.rp_filter=0`]);
  return lab.store;
}

/** Which of a ping and a call to port 8080 from this source address get into the container, as `SOURCE PROTOCOL`. */
export async function arrivals(
  { nodes: [{ host }, peer] }: DockerNetwork,
  to: Container,
  stranger: Host,
  source: string,
): Promise<string[]> {
  await stranger.batch([`route replace ${to.address}/32 via ${host.address} src ${source}`]);
  const begins = '(icmp[icmptype] == icmp-echo or tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn)';
  const capture = await Capture.start(to, 'eth0', `dst host ${to.address} and ${begins}`);
  await Promise.all([
    stranger.run(['ping', '-n', '-c1', '-W1', to.address]),
    stranger.run(['timeout', '1', 'busybox', 'nc', to.address, '8080']),
  ]);
  // A peer's ping, which is sure to arrive, comes after all that the stranger sent.
  await peer.web.must(['ping', '-n', '-c1', '-W5', to.address]);
  const marker = `${peer.web.address} icmp`;
  const seen = await until(
    async () => {
      const frames = (await capture.frames()).map(describe);
      return frames.includes(marker) && frames;
    },
    { what: `ping from ${peer.web.address}`, signal: stranger.signal },
  );
  await capture.stop();
  return [...new Set(seen)].filter((frame) => frame !== marker).sort();
}

/** `10.0.1.2 icmp` of an Ethernet frame with IPv4. */
function describe(frame: Buffer): string {
  return `${[...frame.subarray(26, 30)].join('.')} ${frame[23] === 1 ? 'icmp' : 'tcp'}`;
}

/**
 * A stranger gets to no port that is not published, as itself or under an address of the overlay. `opened`: it gets to one
 * that is published for this host only, by the container's address, as `--allow-direct-routing` says.
 */
export async function tryStranger(
  t: TestContext,
  network: DockerNetwork,
  { opened }: { readonly opened: boolean },
): Promise<void> {
  const stranger = await strangerOn(network);
  const [one] = network.nodes;
  await t.test('a stranger on the underlay gets to no port that is not published', async () => {
    assert.deepEqual(await arrivals(network, one.web, stranger, stranger.address), []);
  });
  await t.test('nor does it under an address of the overlay', async () => {
    assert.deepEqual(await arrivals(network, one.web, stranger, forgedAddress(network)), []);
  });
  const what = 'what is published on 127.0.0.1 alone, called by the container’s address';
  await t.test(`${what}, is ${opened ? 'open, as --allow-direct-routing says' : 'closed'}`, async () => {
    const local = await runWeb(one.docker, 'local', ['--publish', '127.0.0.1:8082:8080']);
    const expected = opened ? [`${stranger.address} tcp`] : [];
    assert.deepEqual(await arrivals(network, local, stranger, stranger.address), expected);
    await one.docker.remove('local');
  });
}
