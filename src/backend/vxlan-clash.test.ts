import assert from 'node:assert/strict';
import { test } from 'node:test';
import { vxlanClash } from '#src/backend/vxlan-clash.ts';
import { parseIp } from '#src/lib/ip.ts';
import type { Link, Vxlan } from '#src/state/object.ts';

const [V4, V6] = [parseIp('192.0.2.1') ?? assert.fail(), parseIp('2001:db8::1') ?? assert.fail()];
const WANTED = { device: 'flannel.1', vni: 1, port: 8472, gbp: false, local: V4 };
const other = (vxlan: Partial<Vxlan>, link: Partial<Link> = {}): Link => ({
  kind: 'link',
  name: 'other0',
  type: 'vxlan',
  up: true,
  ...link,
  vxlan: { vni: 1, port: 8472, learning: true, gbp: false, ...vxlan },
});

const CASES: readonly [name: string, link: Link, clash: string | undefined][] = [
  ['our VNI and port', other({}), 'the device other0 has VNI 1 on UDP port 8472'],
  [
    'the same, down: a VNI is held all the same',
    other({}, { up: false }),
    'the device other0 has VNI 1 on UDP port 8472',
  ],
  ['the same with an address', other({ local: V4 }), 'the device other0 has VNI 1 on UDP port 8472'],
  ['our own device', other({}, { name: 'flannel.1' }), undefined],
  ['another VNI', other({ vni: 2 }), undefined],
  ['another port', other({ port: 4789 }), undefined],
  ['IPv6 outside', other({ local: V6 }), undefined],
  ['IPv6 by its group', other({ group: V6 }), undefined],
  [
    'external mode',
    other({ vni: 0, external: true }),
    'the device other0 takes all VXLAN packets on UDP port 8472',
  ],
  ['external mode, down: it has no socket', other({ vni: 0, external: true }, { up: false }), undefined],
  [
    'GBP on our port',
    other({ vni: 7, gbp: true }),
    'the device other0 has UDP port 8472 with GBP, and ours is without',
  ],
  ['GBP on our port, down', other({ gbp: true }, { up: false }), undefined],
  ['no vxlan device', { kind: 'link', name: 'eth0', up: true }, undefined],
];
for (const [name, link, clash] of CASES) {
  test(`clash: ${name}`, () => {
    assert.equal(vxlanClash(WANTED, [link])?.text, clash);
  });
}

test('two of one family clash, whichever it is', () => {
  assert.match(vxlanClash({ ...WANTED, local: V6 }, [other({ local: V6 })])?.text ?? '', /other0 has VNI 1/);
  assert.equal(vxlanClash({ ...WANTED, local: V6 }, [other({ local: V4 })]), undefined);
});
