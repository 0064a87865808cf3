import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isUnmanaged, isUnmanagedNetwork } from '#src/diagnose/facts/link-managers.ts';

test('NetworkManager leaves alone what its files name', () => {
  const file = (value: string): string => `[keyfile]\nunmanaged-devices=${value}\n`;
  assert.ok(isUnmanaged(file('interface-name:flannel*'), 'flannel.1'));
  assert.ok(isUnmanaged(file('mac:00:00:00:00:00:01;interface-name:flannel.1'), 'flannel.1'));
  assert.ok(isUnmanaged('[device]\nunmanaged-devices+=interface-name:flannel*\n', 'flannel.1'));
  assert.ok(!isUnmanaged(file('interface-name:cali*'), 'flannel.1'));
  assert.ok(!isUnmanaged(`#${file('interface-name:flannel*').split('\n')[1]}`, 'flannel.1'));
});

test('systemd-networkd leaves alone what a file of it matches and calls unmanaged', () => {
  const file = (name: string, unmanaged: string): string =>
    `[Match]\nName=${name}\n\n[Link]\nUnmanaged=${unmanaged}\n`;
  assert.ok(isUnmanagedNetwork(file('cali* flannel*', 'yes'), 'flannel.1'));
  assert.ok(!isUnmanagedNetwork(file('eth*', 'yes'), 'flannel.1'));
  assert.ok(!isUnmanagedNetwork(file('flannel*', 'no'), 'flannel.1'));
});
