import assert from 'node:assert/strict';
import { test } from 'node:test';
import { daemonJsonOf, doorOptions, hasDoors, readDockerdConfig } from '#src/docker/docker-doors.ts';

test('Docker has its doors since version 29', () => {
  const versions = ['20.10', '27.5.1', '28.5.2', '29', '29.0.0-rc.1', 'v29.1', '30.0'];
  assert.deepEqual(versions.map(hasDoors), [false, false, false, true, true, true, true]);
  assert.deepEqual(['', 'auto', '29x', '-29', '2.9.1.1'].map(hasDoors), Array(5).fill(undefined));
});

test('the back end is read from options in any spelling, and from daemon.json', () => {
  const backend = (options: string, json?: string) => readDockerdConfig(options, json).backend;
  assert.equal(backend('-H fd:// --firewall-backend=nftables --mtu=1450'), 'nftables');
  assert.equal(backend('-firewall-backend iptables'), 'iptables');
  assert.equal(backend('--firewall-backend="nftables"'), 'nftables');
  assert.equal(backend('', '{"firewall-backend":"iptables"}'), 'iptables');
  assert.equal(backend('', '{"firewall-backend":1}'), undefined);
  for (const broken of ['', '{', '[]', 'null', '"x"']) assert.equal(backend('', broken), undefined);
});

test('the file that dockerd reads is the one that its options name', () => {
  assert.equal(daemonJsonOf('-H fd:// --config-file=/srv/d.json'), '/srv/d.json');
  assert.equal(daemonJsonOf('--mtu=1450'), '/etc/docker/daemon.json');
});

test('an option that dockerd has is not written again', () => {
  const names = (options: string, json?: string) =>
    Object.keys(doorOptions(0x2000, readDockerdConfig(options, json)));
  const [routing, mark] = ['DOCKER_OPT_ALLOW_DIRECT_ROUTING', 'DOCKER_OPT_BRIDGE_ACCEPT_FWMARK'];
  assert.deepEqual(names(''), [routing, mark]);
  assert.deepEqual(names('--allow-direct-routing'), [mark]);
  // dockerd refuses even what says the same.
  assert.deepEqual(names('', '{"allow-direct-routing": false}'), [mark]);
  assert.deepEqual(names('--bridge-accept-fwmark 0x2000/0x2000'), [routing]);
});
