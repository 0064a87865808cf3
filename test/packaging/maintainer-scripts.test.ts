import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { until } from '#src/sys/until.ts';
import { CleanMachine } from '../support/machine/clean-machine.ts';
import { cannotStartMachines } from '../support/machine/debian-root.ts';
import { Underlay } from '../support/machine/underlay.ts';
import { builtPackages, noPackages } from '../support/packages.ts';

/*
 * The cases of the maintainer scripts that the life of a package (deb.test.ts) does not come to, with the store of the package:
 *
 *     underlay 172.16.70.1 ── .190 server-1   weft-store, flanneld
 */
const skip = cannotStartMachines() || noPackages();
const DEB = '/root/weft.deb';
const INFO = '/var/lib/dpkg/info';
const CONFIG = '{"Network":"10.0.0.0/16","SubnetLen":24,"Backend":{"Type":"vxlan"}}';
const GET = 'ETCDCTL_API=3 etcdctl get --print-value-only /coreos.com/network/config';
const STORE = '/var/lib/private/weft-store/store.db';

test('removals that fail, policies, foreign files and a purge beside another flanneld', {
  skip,
  timeout: 300_000,
}, async (t) => {
  const { deb } = await builtPackages();
  const owner = { signal: t.signal, after: (cleanUp: () => Promise<void>) => t.after(cleanUp) };
  const underlay = await Underlay.make(owner);
  const machine = await CleanMachine.start(owner, { name: 'server-1', number: 0, underlay });
  machine.copyIn(deb, DEB);
  /** All that it says. */
  const dpkg = async (...words: string[]): Promise<string> => {
    const { code, stdout, stderr } = await machine.run(['dpkg', ...words]);
    assert.equal(code, 0, stdout + stderr);
    return stderr;
  };
  const pid = (): Promise<string> => machine.unit('flanneld', 'MainPID');
  const states = (property: string): Promise<string[]> =>
    Promise.all(['weft-store', 'flanneld'].map((unit) => machine.unit(unit, property)));
  const isActive = (): Promise<boolean> =>
    until(async () => (await machine.unit('flanneld', 'ActiveState')) === 'active', {
      what: 'flanneld',
      timeoutMs: 60_000,
    });

  await t.test('settings of before packages are taken over, and files by hand are named', async () => {
    machine.write('/etc/default/flanneld', 'FLANNELD_IFACE=eth0\n');
    machine.write('/usr/local/bin/weft', '#!/bin/sh\nexit 1\n', 0o755);
    machine.write('/etc/docker/daemon.json', '{ "bip": "172.30.0.1/16" }\n');
    const said = await dpkg('--install', DEB);
    assert.match(said, /^weft: \/etc\/docker\/daemon\.json names bip or mtu: take it out/m);
    await machine.must(['rm', '/etc/docker/daemon.json']);
    assert.match(said, /^weft: \/etc\/weft\/flanneld\.conf has the settings of this host's flannel/m);
    assert.match(said, /^weft: \/usr\/local\/bin\/weft is used in place of the package's/m);
    assert.match(machine.read('/etc/weft/flanneld.conf'), /^FLANNELD_IFACE=eth0$/m);
    await machine.must(['rm', '/usr/local/bin/weft']);
    await machine.must(['systemctl', 'enable', '--quiet', '--now', 'weft-store']);
    await machine.must(['weft', 'store', 'put', '/coreos.com/network/config', CONFIG]);
    await machine.must(['systemctl', 'enable', '--quiet', '--now', 'flanneld']);
    await isActive();
  });

  await t.test('after a removal that failed all runs, and starts at the next boot', async () => {
    const before = await pid();
    await machine.script(`cp ${INFO}/weft.prerm /root/prerm; echo 'exit 1' >>${INFO}/weft.prerm`);
    const { code } = await machine.run(['dpkg', '--remove', 'weft']);
    assert.equal(code, 1);
    await isActive();
    assert.notEqual(await pid(), before, 'it was stopped for the removal');
    assert.deepEqual(await states('ActiveState'), ['active', 'active']);
    assert.deepEqual(await states('UnitFileState'), ['enabled', 'enabled']);
    assert.equal(existsSync(machine.path('/var/lib/weft/purge.sh')), false);
    await machine.script(`cp /root/prerm ${INFO}/weft.prerm`);
  });

  await t.test('an upgrade that failed, and one whose restart the policy forbids, end nothing', async () => {
    const before = await pid();
    await machine.must([`${INFO}/weft.postinst`, 'abort-upgrade', '9']);
    machine.write('/usr/sbin/policy-rc.d', '#!/bin/sh\nexit 101\n', 0o755);
    await dpkg('--install', DEB);
    assert.equal(await pid(), before);
    await machine.must(['rm', '/usr/sbin/policy-rc.d']);
    await dpkg('--install', DEB);
    await until(async () => (await pid()) !== before, { what: 'the restart', timeoutMs: 60_000 });
    await isActive();
  });

  await t.test('a removal stops and disables, and the kernel’s state stays', async () => {
    const said = await dpkg('--remove', 'weft');
    assert.match(said, /^weft: packets are forwarded as before.*: sh \/var\/lib\/weft\/purge\.sh$/m);
    await machine.must(['ip', 'link', 'show', 'flannel.1']);
    assert.equal(await machine.script('find /etc/systemd/system -name "*weft*" -o -name "*flanneld*"'), '');
    await machine.must(['sh', '-n', '/var/lib/weft/purge.sh']);
  });

  await t.test('a purge leaves what another flanneld has, and the store’s data', async () => {
    await machine.must(['cp', '/bin/sleep', '/usr/local/bin/flanneld']);
    await machine.must(['systemd-run', '--quiet', '--unit=other', '/usr/local/bin/flanneld', '600']);
    const said = await dpkg('--purge', 'weft');
    assert.match(said, /^flanneld runs on this host: what it made is left/m);
    assert.match(said, /^weft: \/var\/lib\/weft-store is kept.*: rm -r \/var\/lib\/private\/weft-store /m);
    await machine.must(['ip', 'link', 'show', 'flannel.1']);
    assert.match(said, /^weft: \/etc\/weft, .* are left to the flanneld that runs$/m);
    const kept = [STORE, '/run/flannel/subnet.env', '/etc/weft/flanneld.conf', '/var/lib/weft/node-id'];
    for (const path of kept) assert.ok(existsSync(machine.path(path)), path);
    assert.equal(existsSync(machine.path('/var/lib/weft/purge.sh')), false);
    await machine.must(['systemctl', 'stop', 'other']);
  });

  await t.test('a second installation finds the data, and its purge takes the rest', async () => {
    await dpkg('--install', DEB);
    await machine.must(['systemctl', 'start', 'weft-store']);
    assert.equal(await machine.script(GET), `${CONFIG}\n`);
    await dpkg('--remove', 'weft');
    await machine.must(['rm', '-r', '/var/lib/private/weft-store']);
    const said = await dpkg('--purge', 'weft');
    assert.doesNotMatch(said, /weft-store/);
    assert.equal((await machine.run(['ip', 'link', 'show', 'flannel.1'])).code, 1);
    const left = 'find /run/flannel /var/lib/weft* /var/lib/private/weft* /etc/weft 2>/dev/null || true';
    assert.equal(await machine.script(left), '');
    assert.doesNotMatch(await machine.script('nft list ruleset; iptables-save'), /flannel/i);
  });
});
