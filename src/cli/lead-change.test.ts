import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HELD_UP, leadChange } from '#src/cli/lead-change.ts';
import { writeChangeMember } from '#src/network/change-member.ts';
import { withPhase, withPlan } from '#src/network/change-plan.ts';
import { encodeAttributes } from '#src/network/lease-codec.ts';
import { parseNetworkConfig } from '#src/network/network-config.ts';
import { RegistryError } from '#src/registry/errors.ts';
import type { LeaseRecord } from '#src/registry/records.ts';
import { systemClock } from '#src/sys/clock.ts';

const BEGUN = withPlan('{"Network":"10.0.0.0/16","Backend":{"Type":"vxlan"}}', '{"Type":"host-gw"}', {
  id: 'a',
  by: '',
  at: '',
});
const END = '{"Network":"10.0.0.0/16","Backend":{"Type":"host-gw"}}';

/** A registry in which two hosts do at once what the plan says; `fail`: how often it does not answer first. */
class Store {
  config: string | undefined = BEGUN;
  isStuck = false;
  fail = 0;
  readonly phases: string[] = [];

  async readConfig(): Promise<string | undefined> {
    if (this.fail-- > 0) throw new RegistryError('unreachable', 'no answer');
    return this.config;
  }

  async replaceConfig(previous: string, text: string): Promise<boolean> {
    if (this.config !== previous) return false;
    this.config = text;
    this.phases.push(parseNetworkConfig(text).change?.phase ?? 'end');
    return true;
  }

  async list() {
    const phase = parseNetworkConfig(this.config ?? '').change?.phase ?? 'prepare';
    const other = { backendType: 'host-gw' };
    const records = [1, 2].map((number): LeaseRecord => {
      const done = this.isStuck && number === 2 ? 0 : 1;
      const waits = done === 1 ? {} : { '10.0.1.0-24': 'no answer' };
      const Change = writeChangeMember({ id: 'a', phase, other, done, of: 1, waits });
      const value = encodeAttributes({ backendType: 'vxlan', node: `n${number}`, weft: { Change } });
      return { name: `10.0.${number}.0-24`, value, revision: 1n, expiry: { kind: 'reservation' } };
    });
    return { records, revision: 1n };
  }
}

async function lead(store: Store, waitMs = 0): Promise<{ code: number; lines: string[] }> {
  const lines: string[] = [];
  const output = { print: (line: string) => void lines.push(line) };
  const options = { id: 'a', without: [], waitMs };
  const code = await leadChange(
    { registry: store, clock: systemClock, output },
    options,
    AbortSignal.timeout(60_000),
  );
  return { code, lines };
}

test('it leads from phase to phase, to the end', async () => {
  const store = new Store();
  const { code, lines } = await lead(store);
  assert.equal(code, 0);
  assert.deepEqual(store.phases, ['moving', 'settling', 'end']);
  assert.equal(store.config, END);
  assert.deepEqual(lines, [
    'prepare: 2 of 2 hosts are done',
    'moving: 2 of 2 hosts are done',
    'settling: 2 of 2 hosts are done',
    'done: every host uses the new path, and the network config names it',
  ]);
});

test('it leads an abort to its end', async () => {
  const store = new Store();
  store.config = withPhase(BEGUN, 'aborted');
  const { code, lines } = await lead(store);
  assert.deepEqual([code, lines.at(-1)], [0, 'aborted: every host uses the old path']);
});

test('what stands still is left as it is, with who holds it up', async () => {
  const store = new Store();
  store.isStuck = true;
  const { code, lines } = await lead(store, 100);
  assert.equal(code, HELD_UP);
  assert.equal(store.config, BEGUN);
  assert.match(lines[0] ?? '', /^prepare: 1 of 2 hosts are done; waiting for 10\.0\.2\.0-24 .*no answer$/);
  assert.match(lines.at(-1) ?? '', /stands still/);
});

test('a registry that does not answer is asked again', async () => {
  const store = new Store();
  store.fail = 2;
  const { code, lines } = await lead(store);
  assert.equal(code, 0);
  assert.match(lines[0] ?? '', /does not answer/);
});

test('a plan that somebody takes away is an error', async () => {
  const store = new Store();
  store.config = END;
  await assert.rejects(lead(store), { code: 'change' });
});
