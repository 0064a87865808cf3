import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatDefault, optionsOf, parseFlags } from '#src/lib/go-flags.ts';
import { FLANNELD_FLAGS } from '#src/node/flanneld-flags.ts';

/** `flanneld --help` of flannel, v0.9.1 and HEAD of August 2026: name and default. */
const V091 = `etcd-endpoints "http://127.0.0.1:4001,http://127.0.0.1:2379"
etcd-prefix "/coreos.com/network"
etcd-keyfile
etcd-certfile
etcd-cafile
etcd-username
etcd-password
iface
iface-regex
subnet-file "/run/flannel/subnet.env"
public-ip
subnet-lease-renew-margin 60
ip-masq
kube-subnet-mgr
kube-api-url
kubeconfig-file
version
healthz-ip "0.0.0.0"
healthz-port
v
vmodule
log_backtrace_at`;
const ADDED_SINCE = `iface-can-reach
public-ipv6
ip-masq-fully-random-disable
kube-annotation-prefix "flannel.alpha.coreos.com"
iptables-resync 5
iptables-forward-rules true
ip-blackhole-route
net-config-path "/etc/kube-flannel/net-conf.json"
set-node-network-unavailable true`;

const tableOf = (since: string): string[] =>
  Object.entries(FLANNELD_FLAGS)
    .filter(([, flag]) => flag.since === since)
    .map(([name, flag]) => `${name} ${formatDefault(flag)}`.trim())
    .sort();

test('every flag of flannel v0.9.1 is there, with its default', () => {
  assert.deepEqual(tableOf('all'), V091.split('\n').sort());
});

test('every flag that flannel added since is there, with its default', () => {
  assert.deepEqual(tableOf('new'), ADDED_SINCE.split('\n').sort());
});

test("the command line of the scenario's hosts is read", () => {
  const line =
    '-etcd-endpoints=http://172.16.70.190:2379 -etcd-prefix=/flannel-vxlan/network --ip-masq=true --iface=172.16.70.191';
  const parsed = parseFlags(FLANNELD_FLAGS, line.split(' '));
  assert.equal(parsed.outcome, 'parsed');
  if (parsed.outcome !== 'parsed') return;
  const options = optionsOf(FLANNELD_FLAGS, parsed.given);
  assert.deepEqual(options.etcdEndpoints, ['http://172.16.70.190:2379']);
  assert.equal(options.etcdPrefix, '/flannel-vxlan/network');
  assert.equal(options.ipMasq, true);
  assert.deepEqual(options.iface, ['172.16.70.191']);
  assert.equal(options.etcdApi, 'auto');
});

test('--vmodule and --log_backtrace_at take what klog takes', () => {
  const message = (...words: string[]) => {
    const parsed = parseFlags(FLANNELD_FLAGS, words);
    return parsed.outcome === 'invalid' ? parsed.message : parsed.outcome;
  };
  assert.equal(message('-vmodule=vxlan=2,etcd*=3', '-log_backtrace_at=main.go:12'), 'parsed');
  assert.equal(message('-vmodule=', '-log_backtrace_at='), 'parsed');
  assert.equal(
    message('-vmodule=vxlan'),
    'invalid value "vxlan" for flag -vmodule: syntax error: expect comma-separated list of filename=N',
  );
  assert.equal(
    message('-log_backtrace_at=12'),
    'invalid value "12" for flag -log_backtrace_at: syntax error: expect file.go:234',
  );
});
