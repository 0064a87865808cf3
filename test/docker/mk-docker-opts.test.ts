import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { MK_DOCKER_OPTS as PROGRAM } from '../support/flanneld.ts';
import { scratchFolder } from '../support/scratch-folder.ts';
import { scratchNamespace } from '../support/scratch-namespace.ts';

//   u0 192.0.2.1/24 ── u1      10.5.26.0/24: what subnet.env gives to dockerd's bridge

const ROUTES: readonly [name: string, route: string, verdict: 'refused' | 'fine'][] = [
  ['through a gateway', '10.5.26.0/24 via 192.0.2.9', 'refused'],
  ['straight to a device, as the bridge’s own', '10.5.26.0/24 dev u0', 'fine'],
  ['of another subnet', '10.5.27.0/24 via 192.0.2.9', 'fine'],
  ['of the whole network', '10.5.0.0/16 via 192.0.2.9', 'fine'],
];

for (const [name, route, verdict] of ROUTES) {
  test(`the kernel has a route ${name}: ${verdict}, and the file is written`, (t) => {
    const namespace = scratchNamespace(t);
    namespace.run(`ip route add ${route}`);
    const folder = scratchFolder(t);
    const [input, output] = [join(folder, 'subnet.env'), join(folder, 'docker_opts.env')];
    writeFileSync(input, 'FLANNEL_SUBNET=10.5.26.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n');
    const { status, stderr } = spawnSync(
      'nsenter',
      [`--net=${namespace.path}`, PROGRAM, '--docker-version=20.10', '-c', '-f', input, '-d', output],
      { encoding: 'utf8' },
    );
    const line = /^mk-docker-opts: Your routing table already contains the subnet: 10\.5\.26\.0\/24; .*\n$/;
    if (verdict === 'refused') assert.match(stderr, line);
    else assert.equal(stderr, '');
    assert.equal(status, verdict === 'refused' ? 1 : 0);
    assert.equal(
      readFileSync(output, 'utf8'),
      'DOCKER_OPTS=" --bip=10.5.26.1/24 --ip-masq=false --mtu=1450"\n',
    );
  });
}
