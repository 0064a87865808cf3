import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Actuator } from '#src/reconcile/actuator.ts';
import { Actuators } from '#src/reconcile/actuators.ts';
import type { Kind } from '#src/state/kind.ts';
import { LINK } from '#src/state/kinds/link.ts';
import { SYSCTL } from '#src/state/kinds/sysctl.ts';
import type { KernelObject } from '#src/state/object.ts';
import type { Operation } from '#src/state/operation.ts';

/** An actuator that notes what it is asked to apply. */
class Noting implements Actuator {
  readonly kinds: readonly Kind<KernelObject>[];
  readonly calls: string[][] = [];

  constructor(...kinds: Kind<KernelObject>[]) {
    this.kinds = kinds;
  }

  async apply(operations: readonly Operation[]) {
    this.calls.push(operations.map(({ verb }) => verb));
    return operations.map((operation) => ({ operation, done: true as const }));
  }

  async monitor(): Promise<void> {}
}

const link = (verb: Operation['verb']): Operation => ({ verb, object: { kind: 'link', name: 'blue' } });
const sysctl: Operation = { verb: 'replace', object: { kind: 'sysctl', path: 'net/x', value: '1' } };
const route: Operation = {
  verb: 'replace',
  object: {
    kind: 'route',
    destination: { family: 4, address: 0 as never, length: 0 },
    type: 'blackhole',
    onlink: false,
    metric: 0,
    protocol: 3,
    scope: 0,
  },
};

test('operations go to the actuators of their kinds, in order, those in a row in one call', async () => {
  const [links, sysctls] = [new Noting(LINK), new Noting(SYSCTL)];
  const actuators = new Actuators([links, sysctls]);
  const operations = [link('add'), link('set'), sysctl, link('remove'), route];
  const results = await actuators.apply(operations);
  assert.deepEqual(
    results.map(({ operation }) => operation),
    operations,
  );
  assert.deepEqual(links.calls, [['add', 'set'], ['remove']]);
  assert.deepEqual(sysctls.calls, [['replace']]);
  assert.deepEqual(
    results.map((result) => result.done || result.error),
    [true, true, true, true, { errno: 'EOPNOTSUPP', message: 'nothing here can change a route' }],
  );
});

test('where two actuators carry a kind, the first has it', async () => {
  const [first, second] = [new Noting(LINK), new Noting(LINK, SYSCTL)];
  const actuators = new Actuators([first, second]);
  await actuators.apply([link('add'), sysctl]);
  assert.deepEqual([first.calls, second.calls], [[['add']], [['replace']]]);
  assert.deepEqual(actuators.kinds.names, ['link', 'sysctl']);
});

test('only actuators that read are asked to, once for all objects of theirs', () => {
  const sysctls = Object.assign(new Noting(SYSCTL), { read: async () => {} });
  const actuators = new Actuators([new Noting(LINK), sysctls]);
  assert.deepEqual([...actuators.readersOf([link('add').object, route.object])], []);
  assert.deepEqual([...actuators.readersOf([sysctl.object, link('add').object, sysctl.object])], [sysctls]);
});
