import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Sight } from '#src/diagnose/trace/live/locate.ts';
import { liveEvidence } from '#src/diagnose/trace/live-evidence.ts';

const SIGHT: Sight = {
  ...({ host: 'h1', way: 'there', device: 'eth0', in: 'host', direction: 'out' } as const),
  ...{ wrapped: true, seen: true },
};
const LOST = { way: 'there', host: 'h1', hop: 'wire', before: SIGHT } as const;

test('a marked packet that came back shows that the wire carries packets', () => {
  assert.equal(liveEvidence({ sights: [SIGHT] })?.ok, true);
});

test('one without an answer is lost on the wire, or on the host that does not watch', () => {
  const lost = { ...LOST, orThere: { host: '192.0.2.2', why: 'silence' } };
  const { ok, found = [] } = liveEvidence({ sights: [SIGHT], lost }) ?? {};
  assert.equal(ok, false);
  assert.match(found[0] ?? '', /left h1 and no answer came: it is lost on the wire, or on 192\.0\.2\.2$/);
});

test('one that did not come to the wire says nothing of it', () => {
  assert.equal(liveEvidence({ sights: [SIGHT], lost: { ...LOST, hop: 'forward-filter' } }), undefined);
});
