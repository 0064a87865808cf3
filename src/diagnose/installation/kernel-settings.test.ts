import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MODULES_FILE, readKernelSettings, SYSCTL_FILE } from '#src/diagnose/installation/kernel-settings.ts';

const settingsOf = (texts: Readonly<Record<string, string>>) =>
  readKernelSettings({ read: async (path) => texts[path] }, '6.1.0');

test('a value that the kernel writes in other blanks is the same one', async () => {
  const { sysctls } = await settingsOf({
    [SYSCTL_FILE]:
      '# forwarding\nnet.ipv4.ip_forward = 1\nnet.ipv4.tcp_rmem = 4096 131072 6291456\nnet.none = 1\n',
    '/proc/sys/net/ipv4/ip_forward': '0\n',
    '/proc/sys/net/ipv4/tcp_rmem': '4096\t131072\t6291456\n',
  });
  assert.deepEqual(sysctls, [{ name: 'net.ipv4.ip_forward', wanted: '1', found: '0' }]);
});

test('a module is loaded, built in, on the disk or missing', async () => {
  const { modules } = await settingsOf({
    [MODULES_FILE]: 'vxlan\nbr_netfilter\nveth\nnone\n',
    '/proc/modules': 'vxlan 16384 0 - Live 0x0\n',
    '/lib/modules/6.1.0/modules.builtin': 'kernel/drivers/net/veth.ko\n',
    '/lib/modules/6.1.0/modules.dep':
      'kernel/net/bridge/br_netfilter.ko.xz: kernel/net/bridge/bridge.ko.xz\n',
  });
  assert.deepEqual(modules, [
    { name: 'br_netfilter', isInstalled: true },
    { name: 'none', isInstalled: false },
  ]);
});
