import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MODULES_FILE, readKernelSettings } from '#src/diagnose/installation/kernel-settings.ts';

const WANTED = { [MODULES_FILE]: '# for the overlay\nvxlan\nbr_netfilter\n' };

const missing = async (files: Readonly<Record<string, string>>): Promise<readonly string[]> => {
  const all: Readonly<Record<string, string>> = { ...WANTED, ...files };
  const read = async (path: string) => (path === '' ? Promise.reject(new Error('ENOENT')) : all[path]);
  return (await readKernelSettings({ read }, '6.1')).modules;
};

test('a module is there that is loaded, built in, or can be loaded', async () => {
  assert.deepEqual(await missing({}), ['vxlan', 'br_netfilter']);
  assert.deepEqual(
    await missing({ '/proc/modules': 'vxlan 1 0 - Live 0x0\nbr_netfilter 1 0 - Live 0x0\n' }),
    [],
  );
  const dep = 'kernel/drivers/net/vxlan/vxlan.ko.xz: kernel/net/ipv4/udp_tunnel.ko.xz\n';
  const builtin = 'kernel/net/bridge/br_netfilter.ko\n';
  assert.deepEqual(await missing({ '/proc/modules': '', '/lib/modules/6.1/modules.dep': dep }), [
    'br_netfilter',
  ]);
  assert.deepEqual(
    await missing({ '/lib/modules/6.1/modules.dep': dep, '/lib/modules/6.1/modules.builtin': builtin }),
    [],
  );
});

test('where no list says what is built in, the kernel shows it', async () => {
  const signs = {
    '/sys/module/vxlan/version': '0.1.2.1',
    '/proc/sys/net/bridge/bridge-nf-call-iptables': '1',
  };
  assert.deepEqual(await missing(signs), []);
});
