import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ipv4 } from '#src/lib/ip.ts';
import { type Mac, parseMac } from '#src/lib/mac.ts';
import { Admission } from '#src/node/fast-path/admission.ts';
import type { LocalContainer } from '#src/node/fast-path/local-containers.ts';

const container = (n: number): LocalContainer => ({
  ip: ipv4(0x0a000000 + n),
  mac: parseMac('02:42:00:00:00:01') as Mac,
  device: `veth${n}`,
});

test('a container is admitted once it has been there for a while', () => {
  const admission = new Admission();
  assert.equal(admission.waitMs(0), undefined);
  admission.change(container(1).ip, container(1), 0);
  assert.equal(admission.waitMs(100), 200);
  assert.deepEqual(admission.due(299), []);
  assert.deepEqual(admission.due(300), [container(1)]);
  assert.equal(admission.waitMs(300), undefined);
  assert.equal(admission.change(container(1).ip, undefined, 400), true, 'it was admitted');
  assert.deepEqual([...admission.admitted], []);
});

test('a change begins again, and what never was admitted is no loss', () => {
  const admission = new Admission();
  admission.change(container(1).ip, container(1), 0);
  assert.equal(admission.change(container(1).ip, { ...container(1), device: 'veth9' }, 200), false);
  assert.deepEqual(admission.due(400), []);
  assert.deepEqual(
    admission.due(500).map(({ device }) => device),
    ['veth9'],
  );
});

test('of a hundred a second that live for a moment none is admitted; of those that stay, ten a second', () => {
  const admission = new Admission();
  for (let n = 0; n < 1_000; n++) {
    admission.change(container(n).ip, container(n), n * 10);
    if (n >= 20) assert.equal(admission.change(container(n - 20).ip, undefined, n * 10), false);
    assert.deepEqual(admission.due(n * 10), []);
  }
  let count = 0;
  for (let n = 0; n < 1_000; n++) {
    admission.change(container(n).ip, container(n), 20_000 + n * 10);
    count += admission.due(20_000 + n * 10).length;
  }
  assert.ok(count > 100 && count <= 121, `${count} in ten seconds`);
});
