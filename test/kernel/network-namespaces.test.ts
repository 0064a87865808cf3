import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { silentLogger } from '#src/lib/log.ts';
import { Reconciler } from '#src/reconcile/reconciler.ts';
import { SysctlActuator } from '#src/reconcile/sysctl-actuator.ts';
import type { Sysctl } from '#src/state/object.ts';
import { systemClock } from '#src/sys/clock.ts';
import { NamespaceFiles } from '#src/sys/namespace-files.ts';
import { networkNamespacePath, systemNetworkNamespaces } from '#src/sys/network-namespaces.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * Namespaces with names of the test's own, made without iproute2, and seen by it.
 */
const skip = cannotRun();
const namespaces = systemNetworkNamespaces;
let made = 0;

function ownName(t: TestContext): string {
  const name = `weft-test-${process.pid}-n${++made}`;
  t.after(() => namespaces.remove(name));
  return name;
}
const ip = (...words: string[]): string => execFileSync('ip', words, { encoding: 'utf8' });

test('a namespace is made once, is there for others, and goes', { skip }, async (t) => {
  const name = ownName(t);
  const home = readlinkSync('/proc/thread-self/ns/net');
  assert.equal(await namespaces.isThere(name), false);
  await namespaces.ensure(name);
  assert.equal(await namespaces.isThere(name), true);
  assert.match(ip('netns', 'list'), new RegExp(`^${name}\\b`, 'm'));
  assert.match(ip('-n', name, 'link', 'show', 'lo'), /LOOPBACK,UP/);
  const inside = () => ip('netns', 'exec', name, 'readlink', '/proc/self/ns/net').trim();
  const [identity] = [inside()];
  assert.notEqual(identity, home);
  ip('-n', name, 'link', 'set', 'lo', 'down');
  await namespaces.ensure(name);
  assert.equal(inside(), identity);
  assert.match(ip('-n', name, 'link', 'show', 'lo'), /LOOPBACK,UP/);
  assert.equal(readlinkSync('/proc/thread-self/ns/net'), home);
  await namespaces.remove(name);
  await namespaces.remove(name);
  assert.equal(await namespaces.isThere(name), false);
  assert.doesNotMatch(ip('netns', 'list'), new RegExp(`^${name}\\b`, 'm'));
});

test('what iproute2 made is there, and what we made is iproute2’s to delete', { skip }, async (t) => {
  const name = ownName(t);
  ip('netns', 'add', name);
  assert.equal(await namespaces.isThere(name), true);
  await namespaces.ensure(name);
  ip('netns', 'del', name);
  await namespaces.ensure(name);
  ip('netns', 'del', name);
  assert.equal(await namespaces.isThere(name), false);
});

test('a file that was left in the name’s place is no namespace, and becomes one', { skip }, async (t) => {
  const name = ownName(t);
  await namespaces.ensure(ownName(t));
  writeFileSync(networkNamespacePath(name), '');
  assert.equal(await namespaces.isThere(name), false);
  await namespaces.ensure(name);
  assert.equal(await namespaces.isThere(name), true);
});

test('the mount is seen in other mount namespaces that have the folder', { skip }, async (t) => {
  const name = ownName(t);
  await namespaces.ensure(name);
  const folder = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .find((line) => line.split(' ')[4] === '/run/netns');
  assert.match(folder ?? '', / shared:\d+ /);
});

test('a namespace that is held lives without its name, and gets it back', { skip }, async (t) => {
  const name = ownName(t);
  await namespaces.ensure(name);
  const held = await namespaces.hold(name);
  t.after(() => held.close());
  ip('-n', name, 'link', 'add', 'left', 'type', 'bridge');
  assert.equal(held.named, 'this');
  ip('netns', 'del', name);
  assert.equal(held.named, 'none');
  ip('netns', 'add', name);
  assert.equal(held.named, 'another');
  await namespaces.remove(name);
  held.restoreName();
  assert.equal(held.named, 'this');
  assert.match(ip('-n', name, 'link', 'show', 'left'), / left: /);
  ip('netns', 'del', name);
  held.restoreName();
  held.restoreName();
  await namespaces.remove(name);
  assert.equal(held.named, 'none');
});

test('what is not there can’t be held', { skip }, async () => {
  await assert.rejects(namespaces.hold('weft-test-nowhere'), { code: 'netns' });
});

test('settings are read and written inside, and repaired there', { skip }, async (t) => {
  const name = ownName(t);
  await namespaces.ensure(name);
  const wanted: readonly Sysctl[] = [
    { kind: 'sysctl', path: 'net/ipv4/ip_forward', value: '0' },
    { kind: 'sysctl', path: 'net/ipv6/conf/default/disable_ipv6', value: '1' },
  ];
  const outside = () => wanted.map(({ path }) => readFileSync(`/proc/sys/${path}`, 'utf8').trim());
  const before = outside();
  const inside = () => wanted.map(({ path }) => ip('netns', 'exec', name, 'cat', `/proc/sys/${path}`).trim());
  ip('netns', 'exec', name, 'sysctl', '-qw', 'net.ipv4.ip_forward=1');
  const settings = new SysctlActuator({ files: new NamespaceFiles(networkNamespacePath(name)) });
  const reconciler = new Reconciler(
    { actuators: [settings], clock: systemClock, log: silentLogger },
    { fullCheckMs: 3_600_000, fullCheckShare: 1 },
  );
  const owner = reconciler.own({ name, scopes: () => [{ kinds: ['sysctl'], owns: () => false }] });
  owner.set('own', wanted);
  await reconciler.start(t.signal);
  assert.deepEqual(owner.status.failing, []);
  assert.deepEqual(inside(), ['0', '1']);
  ip('netns', 'exec', name, 'sysctl', '-qw', 'net.ipv4.ip_forward=1');
  reconciler.check();
  await reconciler.settled();
  assert.deepEqual(inside(), ['0', '1']);
  assert.deepEqual(outside(), before);
});

test('a namespace that can’t be made is an error with the reason, and nothing is left', {
  skip,
}, async () => {
  await assert.rejects(namespaces.ensure('no/such/folder'), { code: 'netns-make' });
  assert.equal(await namespaces.isThere('no/such/folder'), false);
});
