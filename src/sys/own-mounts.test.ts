import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hasOwnMounts } from '#src/sys/own-mounts.ts';

const HOST = '22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n23 22 0:5 / /proc rw - proc proc rw\n';
const SANDBOX = '180 170 8:1 / / rw,relatime shared:80 master:1 - ext4 /dev/sda1 rw\n';

const filesWith = (own: string | undefined, host: string | undefined) => ({
  read: async (path: string) => (path === '/proc/1/mountinfo' ? host : own),
});
const SERVICE = { NOTIFY_SOCKET: '/run/systemd/notify' };

test('a service in a sandbox has mounts of its own', async () => {
  assert.equal(await hasOwnMounts(filesWith(SANDBOX, HOST), SERVICE), true);
  assert.equal(
    await hasOwnMounts(filesWith(SANDBOX, undefined), SERVICE),
    true,
    'it hides the first process',
  );
});

test('one without, and what systemd did not start, has the host’s', async () => {
  assert.equal(await hasOwnMounts(filesWith(HOST, HOST), SERVICE), false);
  assert.equal(await hasOwnMounts(filesWith(SANDBOX, HOST), {}), false);
  assert.equal(await hasOwnMounts(filesWith(undefined, undefined), SERVICE), false);
});
