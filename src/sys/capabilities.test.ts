import assert from 'node:assert/strict';
import { test } from 'node:test';
import { missingCapabilities } from '#src/sys/capabilities.ts';

const missing = (read: () => Promise<string | undefined>) =>
  missingCapabilities({ read }, ['CAP_NET_ADMIN', 'CAP_SYS_ADMIN']);

test('capabilities are read from the effective set', async () => {
  const status = (mask: string) => async () => `Name:\tnode\nCapPrm:\tffffffffffffffff\nCapEff:\t${mask}\n`;
  assert.deepEqual(await missing(status('000001ffffffffff')), []);
  assert.deepEqual(await missing(status('0000000000001000')), ['CAP_SYS_ADMIN']);
  assert.deepEqual(await missing(status('0000000000000000')), ['CAP_NET_ADMIN', 'CAP_SYS_ADMIN']);
});

test('a status that is not there or can not be read grants none', async () => {
  assert.equal((await missing(async () => undefined)).length, 2);
  assert.equal((await missing(() => Promise.reject(new Error('EACCES')))).length, 2);
});
