import assert from 'node:assert/strict';
import { test } from 'node:test';
import { VXLAN_DEVICES } from '#src/backend/vxlan-kind.ts';
import { MemoryKernel } from '#src/kernel/memory-kernel.ts';
import { silentLogger } from '#src/lib/log.ts';
import { checkHost } from '#src/node/check-host.ts';

/** A host whose kernel has vxlan as a module that was not loaded yet: only a device shows it. */
const check = (kernel: MemoryKernel): Promise<void> =>
  checkHost(
    {
      kernel,
      files: {
        exists: () => false,
        read: async (path) => (path === '/proc/self/status' ? 'CapEff:\t000001ffffffffff\n' : undefined),
        write: async () => {},
        createExclusively: async () => false,
        writeAtomically: async () => {},
        append: async () => {},
        remove: async () => {},
      },
      commands: { run: async () => ({ code: 127, stdout: '', stderr: '' }) },
      log: silentLogger,
    },
    { requirements: [VXLAN_DEVICES], firewall: undefined, ipv4: true, ipv6: false },
    new AbortController().signal,
  );

test('the device of the check is removed again', async () => {
  const kernel = new MemoryKernel();
  await check(kernel);
  assert.match(kernel.history.join('\n'), /^ip link add weft-probe .*\nip link del.* weft-probe$/);
  assert.deepEqual(kernel.text, []);
});

test('two starts at one moment both find vxlan, and what a killed start left is removed', async () => {
  const kernel = new MemoryKernel();
  await Promise.all([check(kernel), check(kernel)]);
  kernel.interfere({ verb: 'add', object: { kind: 'link', name: 'weft-probe', type: 'vxlan' } });
  await check(kernel);
  assert.deepEqual(kernel.text, []);
});

test('a kernel without vxlan makes a start impossible', async () => {
  const kernel = new MemoryKernel();
  kernel.refuseAlways = () => 'EOPNOTSUPP';
  await assert.rejects(check(kernel), { code: 'host', message: /No vxlan in the kernel.*EOPNOTSUPP/ });
});
