import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Dockerd, dockerdOption, doubledOptions } from '#src/diagnose/facts/dockerd.ts';
import { routeOf, ruleOf } from '#src/diagnose/facts/ip-rules.ts';
import { parseOffloads } from '#src/diagnose/facts/offloads.ts';
import { reversePathFilter, sysctlCommand } from '#src/diagnose/facts/sysctls.ts';
import { countLearned } from '#src/diagnose/facts/table-sizes.ts';
import { parseUdpSockets } from '#src/diagnose/facts/udp-sockets.ts';
import { formatPrefix, parsePrefix } from '#src/lib/ip.ts';

test('rules of policy routing as iproute2 6.1 prints them', () => {
  const all = ruleOf({ priority: 32766, src: 'all', table: 'main' });
  assert.deepEqual(all, { priority: 32766, not: false, action: 'lookup', table: 'main', hasOther: false });
  const some = ruleOf({ priority: 9, src: 'all', dst: '10.0.0.0', dstlen: 16, fwmark: '0x1', table: '200' });
  assert.deepEqual([some.to && formatPrefix(some.to), some.mark, some.table], ['10.0.0.0/16', '0x1', '200']);
  assert.equal(ruleOf({ priority: 9, src: 'all', action: 'blackhole' }).action, 'blackhole');
  assert.equal(ruleOf({ priority: 9, src: 'all', sport: '53', table: 'main' }).hasOther, true);
});

test('routes of all tables, those of the host itself left out', () => {
  assert.deepEqual(routeOf({ type: 'local', dst: '10.0.0.1', table: 'local', dev: 'lo' }), []);
  assert.deepEqual(routeOf({ type: 'blackhole', dst: 'default', table: '200' }), [
    { table: '200', destination: parsePrefix('0.0.0.0/0'), type: 'blackhole', metric: 0 },
  ]);
});

test('UDP sockets with the process that holds them; the kernel’s have none', () => {
  const output = `UNCONN 0 0 0.0.0.0:8472 0.0.0.0:* users:(("socat",pid=71,fd=5))
UNCONN 0      0            0.0.0.0:8472       0.0.0.0:*
UNCONN 0 0 [::1]:53 [::]:*`;
  assert.deepEqual(parseUdpSockets(output), [
    { address: '0.0.0.0', port: 8472, process: 'socat', pid: 71 },
    { address: '0.0.0.0', port: 8472 },
    { address: '[::1]', port: 53 },
  ]);
});

test('the kernel takes the stricter one of a device’s reverse path filter and that of all', () => {
  const sysctls = new Map([
    ['net/ipv4/conf/all/rp_filter', '1'],
    ['net/ipv4/conf/eth0/rp_filter', '2'],
    ['net/ipv4/conf/eth1/rp_filter', '0'],
  ]);
  assert.deepEqual([reversePathFilter(sysctls, 'eth0'), reversePathFilter(sysctls, 'eth1')], [2, 1]);
  assert.equal(
    sysctlCommand('net/ipv4/conf/flannel.1/forwarding', 1),
    'sysctl -w net.ipv4.conf.flannel/1.forwarding=1',
  );
});

test('permanent neighbours do not count towards the limit', () => {
  const arp = `IP address       HW type     Flags       HW address            Mask     Device
10.0.32.0        0x1         0x6         4e:75:5c:b8:d8:8e     *        flannel.1
172.16.70.190    0x1         0x2         06:21:4e:00:00:00     *        eth0
`;
  assert.equal(countLearned(arp), 1);
});

test('an option of dockerd, from its command line or from its file', () => {
  const dockerd: Dockerd = {
    pid: 1,
    words: ['--bip=10.0.1.1/24', '--mtu', '1450', '--ip-masq', '--debug'],
    file: '/etc/docker/daemon.json',
    json: { mtu: 1500, 'live-restore': true },
  };
  assert.deepEqual(dockerdOption(dockerd, 'bip'), { value: '10.0.1.1/24', from: 'command line' });
  assert.deepEqual(dockerdOption(dockerd, 'mtu'), { value: '1450', from: 'command line' });
  assert.deepEqual(dockerdOption(dockerd, 'ip-masq'), { value: 'true', from: 'command line' });
  assert.deepEqual(dockerdOption(dockerd, 'live-restore'), { value: 'true', from: 'daemon.json' });
  assert.equal(dockerdOption(dockerd, 'iptables'), undefined);
  assert.deepEqual(doubledOptions(dockerd), ['mtu']);
});

test('whether a device leaves checksums to the one below', () => {
  assert.deepEqual(parseOffloads('Features for flannel.1:\nrx-checksumming: on\ntx-checksumming: off\n'), {
    txChecksum: false,
  });
  assert.equal(parseOffloads('Cannot get device feature names: No such device\n'), undefined);
});
