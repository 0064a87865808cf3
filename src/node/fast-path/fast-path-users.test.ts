import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FastPathUsers } from '#src/node/fast-path/fast-path-users.ts';
import { writtenFiles } from '../../../test/support/written-files.ts';

const SETTING = '/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal';
const NOTE = '/var/lib/weft/fast-path.json';

function host(value: string | undefined) {
  const files = new Map<string, string>(value === undefined ? [] : [[SETTING, `${value}\n`]]);
  const system = writtenFiles(files);
  return { files, open: () => new FastPathUsers(system, NOTE), value: () => files.get(SETTING)?.trim() };
}

test('the last of several users puts back what was there before the first', async () => {
  const { files, open, value } = host('0');
  const users = open();
  await users.use('/one', 'flannel.1');
  files.set(SETTING, '1');
  await users.use('/two', 'flannel.2');
  await users.use('/two', 'flannel.2');
  assert.equal(await users.leave('/one'), undefined);
  assert.equal(value(), '1');
  assert.match((await users.leave('/two')) ?? '', /be_liberal=0$/);
  assert.equal(value(), '0');
  assert.equal(files.has(NOTE), false);
});

test('another run knows what was there', async () => {
  const { files, open, value } = host('0');
  await open().use('/one', 'flannel.1');
  files.set(SETTING, '1');
  await open().use('/one', 'flannel.1');
  await open().leave('/one');
  assert.equal(value(), '0');
});

test('what an administrator has set stays', async () => {
  const { open, value } = host('1');
  await open().use('/one', 'flannel.1');
  await open().leave('all');
  assert.equal(value(), '1');
});

test('without a note nothing is put back; a note that nobody wrote is none', async () => {
  const { files, open, value } = host('1');
  assert.equal(await open().leave('all'), undefined);
  for (const note of [
    '{"users":3,"value":"1"}',
    '{"users":{"/one":"x"},"value":"1"}',
    '{"users":{},"value":"rm"}',
  ]) {
    files.set(NOTE, note);
    assert.equal(await open().leave('all'), undefined);
    assert.deepEqual(await open().networks(), []);
  }
  assert.equal(value(), '1');
});

test('a kernel without conntrack has nothing that could mind', async () => {
  const { files, open } = host(undefined);
  assert.equal(await open().isTcpLiberal(), true);
  await open().use('/one', 'flannel.1');
  assert.deepEqual(await open().devicesOf('/one'), ['flannel.1']);
  assert.equal(await open().leave('/one'), undefined);
  assert.deepEqual([...files], []);
  assert.equal(await host('0').open().isTcpLiberal(), false);
});

test('another run knows which devices each network had', async () => {
  const { open } = host('0');
  await open().use('/one', 'flannel.1');
  await open().use('/one', 'flannel.2');
  await open().use('/two', 'flannel.3');
  assert.deepEqual(await open().networks(), ['/one', '/two']);
  assert.deepEqual(await open().devicesOf('/one'), ['flannel.1', 'flannel.2']);
  await open().only('/one', 'flannel.2');
  assert.deepEqual(await open().devicesOf('/one'), ['flannel.2']);
  await open().leave('/one');
  assert.equal(await open().devicesOf('/one'), undefined);
  assert.deepEqual(await open().networks(), ['/two']);
});
