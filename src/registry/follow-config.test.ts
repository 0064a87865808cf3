import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '#src/lib/log.ts';
import { RegistryError } from '#src/registry/errors.ts';
import { followConfig } from '#src/registry/follow-config.ts';
import { MemoryRegistry } from '#src/registry/memory.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';

function begin(text: string | undefined, onText?: (text: string | undefined) => void) {
  const clock = new FakeClock();
  const registry = new MemoryRegistry({ clock });
  const texts: (string | undefined)[] = [];
  const stopper = new AbortController();
  const components = { registry, clock, random: () => 0.5, log: silentLogger };
  const take = onText ?? ((found) => void texts.push(found));
  const start = () => followConfig(components, { text, onText: take }, stopper.signal);
  return { clock, registry, texts, stopper, start };
}

test('each other text is handed over once, and a key that is gone as none', async () => {
  const { clock, registry, texts, stopper, start } = begin('a');
  registry.writeConfig('a');
  const ended = start();
  await clock.advance(1_000);
  for (const text of ['b', 'b', undefined, 'b']) {
    registry.writeConfig(text);
    await clock.advance(1_000);
  }
  assert.deepEqual(texts, ['b', undefined, 'b']);
  const reason = new Error('enough');
  stopper.abort(reason);
  await assert.rejects(ended, reason);
});

test('a config that was gone before is handed over as none', async () => {
  const { clock, texts, stopper, start } = begin('a');
  const ended = start();
  await clock.advance(1_000);
  assert.deepEqual(texts, [undefined]);
  stopper.abort();
  await assert.rejects(ended);
});

test('a registry that does not answer says nothing, and is asked again after a pause', async () => {
  const { clock, registry, texts, stopper, start } = begin('a');
  const { watchConfig } = registry;
  let asked = 0;
  // biome-ignore lint/correctness/useYield: it fails before it has anything to yield
  registry.watchConfig = async function* () {
    asked++;
    throw new RegistryError('unreachable', 'cannot watch the network config: connection refused');
  };
  const ended = start();
  await clock.advance(3_600_000);
  assert.deepEqual(texts, []);
  assert.ok(asked > 10 && asked < 1_000, `${asked} times in an hour`);
  registry.watchConfig = watchConfig;
  registry.writeConfig('b');
  await clock.advance(60_000);
  assert.deepEqual(texts, ['b']);
  stopper.abort();
  await assert.rejects(ended);
});

test('what the listener throws is the end of it', async () => {
  const broken = new Error('broken');
  const { start } = begin('a', () => {
    throw broken;
  });
  await assert.rejects(start(), broken);
});
