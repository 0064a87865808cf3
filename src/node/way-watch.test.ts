import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KernelEvent } from '#src/kernel/kernel.ts';
import type { RouteDecision, RouteQuestion } from '#src/kernel/route-question.ts';
import { ipv4, type Prefix4, parsePrefix4, prefix4 } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { WayWatch } from '#src/node/way-watch.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';

const prefix = (text: string): Prefix4 => parsePrefix4(text) ?? assert.fail(text);
const SUBNET = prefix('10.0.65.0/24');

function watchUnderTest(signal: AbortSignal) {
  const clock = new FakeClock();
  const listeners = new Set<(event: KernelEvent) => void>();
  const state = { device: 'flannel.1', questions: 0 };
  const watch = new WayWatch(
    {
      kernel: {
        dump: async () => [
          // A tunnel around the overlay's device has an address of the subnet as well, and is no bridge.
          { kind: 'address', device: 'weft-wg.1', prefix: prefix4(ipv4(0x0a004100), 32) },
          { kind: 'address', device: 'docker0', prefix: prefix4(ipv4(0x0a004101), 24) },
        ],
        decide: async ({ by }: RouteQuestion): Promise<RouteDecision> => {
          state.questions++;
          const device = by === 'docker0' ? state.device : 'docker0';
          return { outcome: 'way', type: 'unicast', device, table: 254 };
        },
      },
      files: { read: async () => undefined },
      clock,
      log: silentLogger,
      observe: (listener) => {
        listeners.add(listener);
        return () => void listeners.delete(listener);
      },
    },
    {
      networks: () => ({ v4: prefix('10.0.0.0/16') }),
      settled: async () => {},
      ways: async () => [
        { subnet: SUBNET, peers: [prefix('10.0.32.0/24')], devices: ['flannel.1'], beside: ['weft-wg.1'] },
      ],
    },
  );
  watch.start(signal);
  const emit = (event: KernelEvent): void => {
    for (const listener of listeners) listener(event);
  };
  return { watch, clock, state, emit, listeners };
}

const address = (text: number): KernelEvent => ({
  type: 'changed',
  object: { kind: 'address', device: 'eth9', prefix: prefix4(ipv4(text), 24) },
});

test('an event of policy routing is followed by a look, and a finding has to be there twice', async (t) => {
  const { watch, clock, state, emit } = watchUnderTest(t.signal);
  await clock.advance(500);
  assert.deepEqual(watch.troubles, []);
  state.device = 'eth1';
  emit({ type: 'policy' });
  await clock.advance(200);
  assert.deepEqual(watch.troubles, [], 'not confirmed yet');
  await clock.advance(500);
  assert.match(watch.troubles.join(), /leave by eth1/);
  state.device = 'flannel.1';
  emit({ type: 'policy' });
  await clock.advance(1_100);
  assert.deepEqual(watch.troubles, []);
});

test('what is there for a moment is none', async (t) => {
  const { watch, clock, state, emit } = watchUnderTest(t.signal);
  await clock.advance(500);
  state.device = 'eth1';
  emit({ type: 'policy' });
  await clock.advance(200);
  state.device = 'flannel.1';
  await clock.advance(2_000);
  assert.deepEqual(watch.troubles, []);
});

test('addresses outside the overlay ask for no look, those in it do', async (t) => {
  const { clock, state, emit } = watchUnderTest(t.signal);
  await clock.advance(500);
  const before = state.questions;
  emit(address(0xc0000201));
  await clock.advance(2_000);
  assert.equal(state.questions, before);
  emit(address(0x0a004101));
  await clock.advance(2_000);
  assert.ok(state.questions > before);
});

test('the bridge’s own events ask for a look, those of other devices do not', async (t) => {
  const { clock, state, emit } = watchUnderTest(t.signal);
  await clock.advance(500);
  const before = state.questions;
  emit({ type: 'changed', object: { kind: 'link', name: 'veth1', up: false } });
  await clock.advance(2_000);
  assert.equal(state.questions, before);
  emit({ type: 'changed', object: { kind: 'link', name: 'docker0', up: false } });
  await clock.advance(2_000);
  assert.ok(state.questions > before);
});

test('it ends with its signal', async () => {
  const stop = new AbortController();
  const { clock, listeners } = watchUnderTest(stop.signal);
  await clock.advance(500);
  stop.abort();
  await clock.advance(0);
  assert.deepEqual([listeners.size, clock.sleeping], [0, []]);
});
