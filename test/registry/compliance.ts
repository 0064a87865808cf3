import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Registry } from '#src/registry/registry.ts';
import { type RecordsHarness, recordsSuite } from './records-compliance.ts';

export { nameOf, watchFor, written } from './records-compliance.ts';

/** A store to run the suite against, which nobody else uses. */
export interface Harness extends Omit<RecordsHarness, 'records'> {
  readonly registry: Registry;
  /** Puts the network config, as an operator does, or removes it. */
  writeConfig(text: string | undefined): Promise<void>;
}

/** v2's config is looked at each 5 s, and one test waits for three looks. */
const GIVE_UP_MS = 60_000;

/** What every registry promises, whichever store is behind it. */
export function complianceSuite(name: string, open: () => Promise<Harness>): void {
  describe(`registry compliance: ${name}`, () => {
    let harness: Harness;
    let registry: Registry;
    const signal = () => AbortSignal.timeout(GIVE_UP_MS);
    before(async () => {
      harness = await open();
      registry = harness.registry;
    });
    after(async () => {
      await harness.close();
    });

    test('an empty store has no config', async () => {
      assert.equal(await registry.readConfig(signal()), undefined);
    });

    test('the config is read as it was written', async () => {
      const config = '{"Network":"10.0.0.0/16",\n "Backend":{"Type":"vxlan"}}';
      await harness.writeConfig(config);
      assert.equal(await registry.readConfig(signal()), config);
    });

    test('the config is replaced only where it says what was read', async () => {
      const config = '{"Network":"10.0.0.0/16",\n "Owner":"ä & b"}';
      await harness.writeConfig(config);
      assert.equal(await registry.replaceConfig('{}', '{"a":1}', signal()), false);
      assert.equal(await registry.readConfig(signal()), config);
      assert.equal(await registry.replaceConfig(config, '{"b":"+ü"}', signal()), true);
      assert.equal(await registry.readConfig(signal()), '{"b":"+ü"}');
      await harness.writeConfig(undefined);
      assert.equal(await registry.replaceConfig('{"b":"+ü"}', '{}', signal()), false);
      assert.equal(await registry.readConfig(signal()), undefined);
    });

    test('the config is followed: another text, none, a text again', async () => {
      const texts: (string | undefined)[] = [];
      const steps = ['{"Network":"10.1.0.0/16"}', undefined, '{"Network":"10.2.0.0/16"}'];
      await harness.writeConfig('{}');
      for await (const text of registry.watchConfig(signal())) {
        if (texts.length > 0 && texts.at(-1) === text) continue;
        texts.push(text);
        if (steps.length === 0) break;
        await harness.writeConfig(steps.shift());
      }
      assert.deepEqual(texts, ['{}', '{"Network":"10.1.0.0/16"}', undefined, '{"Network":"10.2.0.0/16"}']);
      const reason = new Error('enough');
      await assert.rejects(async () => {
        for await (const _ of registry.watchConfig(AbortSignal.abort(reason)));
      }, reason);
    });
  });

  recordsSuite(`leases: ${name}`, async () => {
    const { registry, ...harness } = await open();
    return { ...harness, records: registry };
  });
}
