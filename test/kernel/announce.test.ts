import assert from 'node:assert/strict';
import { test } from 'node:test';
import { macToBytes, parseMac } from '#src/lib/mac.ts';
import { announcerIn } from '#src/sys/address-announcer.ts';
import { until } from '#src/sys/until.ts';
import { untilCarrier } from '../support/carrier.ts';
import { scratchNamespace } from '../support/scratch-namespace.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * A card that was replaced, as a neighbour sees it:
 *
 *     here: v0 198.51.100.1 ── v1 198.51.100.2 :there, which still knows the old card's MAC
 */
test('a neighbour that knows an old hardware address takes the announced one at once', {
  skip: cannotRun('ip'),
}, async (t) => {
  const [here, there] = [scratchNamespace(t), scratchNamespace(t)];
  here.run(`ip link add v0 type veth peer name v1 netns ${there.path}`);
  for (const [side, device, address] of [
    [here, 'v0', '198.51.100.1'],
    [there, 'v1', '198.51.100.2'],
  ] as const) {
    side.run(`ip addr add ${address}/24 dev ${device}`);
    side.run(`ip link set ${device} up`);
  }
  untilCarrier(here.run, 'v0');
  untilCarrier(there.run, 'v1');
  const link = JSON.parse(here.run('ip -j link show v0')) as { ifindex: number; address: string }[];
  const [card] = link;
  assert.ok(card);
  const mac = parseMac(card.address);
  assert.ok(mac);
  // Just confirmed: an ordinary request would not replace it for a second (arp_process's LOCKTIME).
  there.run('ip neigh replace 198.51.100.1 lladdr 02:00:00:00:00:99 nud reachable dev v1');
  await announcerIn(here.path).announce({
    index: card.ifindex,
    mac: macToBytes(mac),
    address: Uint8Array.of(198, 51, 100, 1),
  });
  await until(() => there.run('ip neigh show 198.51.100.1').includes(card.address) || undefined, {
    what: 'the new hardware address',
  });
});
