import assert from 'node:assert/strict';
import { test } from 'node:test';
import { patience } from '#src/sys/until.ts';
import { FLANNELD, noPeer, PEERS } from '../support/flanneld.ts';
import { loadModule } from '../support/kernel-has.ts';
import { pairOf, testNetwork } from '../support/network.ts';
import { cannotRunCharon, lacksEsp, untilTunnel } from '../support/strongswan.ts';

/*
 * A network over ipsec with a host of weft's and one of flannel's, each of which starts a charon of its own:
 *
 *     store .190 etcd     h1 .191 flanneld (weft), charon ── c     h2 .192 flannel HEAD, charon ── c
 */
const skip = cannotRunCharon('etcd', 'etcdctl', 'ping') || lacksEsp() || noPeer(3);
const CONFIG = JSON.stringify({
  Network: '10.0.0.0/16',
  SubnetLen: 24,
  Backend: { Type: 'ipsec', PSK: 'k'.repeat(96) },
});

test('ipsec with another flanneld passes packets of the whole MTU both ways', { skip }, async (t) => {
  loadModule('br_netfilter');
  const network = await testNetwork(t, {
    api: 3,
    config: CONFIG,
    programs: [FLANNELD, PEERS.v3 ?? assert.fail()],
    hasPeerRoutes: false,
  });
  const [one, two] = pairOf(network);
  // flannel makes no route: its packets take the default one until a policy takes them.
  await two.host.must(['ip', 'route', 'replace', 'default', 'via', one.host.address, 'dev', 'eth0']);
  await untilTunnel([one.host, two.host]);
  for (const [from, to] of [
    [one, two],
    [two, one],
  ] as const)
    for (const size of ['56', '1395'])
      await from.container.must(['ping', '-c2', '-W5', '-M', 'do', '-s', size, to.container.address], {
        timeoutMs: 10_000 * patience(),
      });
});
