import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { Capture } from '#src/lab/capture.ts';
import type { Container } from '#src/lab/container.ts';
import { Docker, firstInPath } from '#src/lab/docker.ts';
import type { Host } from '#src/lab/host.ts';
import type { Lab } from '#src/lab/lab.ts';
import type { Store } from '#src/lab/store.ts';
import { untilListening } from '#src/lab/traffic.ts';
import { dockerEngines, type Engine } from '../support/docker-engines.ts';
import {
  CONFIG,
  flagsFor,
  MK_DOCKER_OPTS,
  PREFIX,
  readLease,
  STORES,
  startFlanneld,
  startStore,
  subnetOf,
  waitForRoute,
} from '../support/flanneld.ts';
import { cannotRun, testLab } from '../support/test-lab.ts';

/*
 * The scenario the product exists for, step by step, on real etcd or the embedded store, real dockerd and real containers.
 * Debian's Docker runs with each store, and Docker 29 with one, in both of its firewall back ends:
 *
 *     Server_1  store  172.16.70.190   etcd --enable-v2, or weft store serve
 *     Server_2  h1     172.16.70.191   flanneld, dockerd ── docker0 10.0.A.1 ── web 10.0.A.2
 *     Server_3  h2     172.16.70.192   flanneld, dockerd ── docker0 10.0.B.1 ── web 10.0.B.2
 */
const skip = cannotRun('etcd', 'etcdctl', 'dockerd', 'docker', 'busybox', 'tcpdump');

/** A Docker host of the scenario and what the steps find out about it. */
interface Server {
  readonly host: Host;
  /** `10.0.A` */
  readonly subnet: string;
  readonly vtepMac: string;
  readonly web: Container;
  readonly docker: Docker;
}

const { debian, iptables, nftables } = dockerEngines();
const [, ETCD_V3] = STORES;
/** What mk-docker-opts adds for Docker 29. */
const doors = (bip: string) =>
  ` --allow-direct-routing --bip=${bip} --bridge-accept-fwmark=0x2000/0x2000 --ip-masq=false --mtu=1450`;
const flannelOptions = (bip: string) => ` --bip=${bip} --ip-masq=false --mtu=1450`;

const SCENARIOS: readonly {
  readonly store: (typeof STORES)[number];
  readonly engine: Engine;
  readonly written: (bip: string) => string;
}[] = [
  ...STORES.map((store) => ({ store, engine: debian, written: flannelOptions })),
  { store: ETCD_V3, engine: iptables, written: doors },
  { store: ETCD_V3, engine: nftables, written: doors },
];

for (const { store, engine, written } of SCENARIOS) {
  const { api, kind, called } = store;
  test(`two hosts with ${engine.called} talk over VXLAN, coordinated by ${called}`, {
    skip: skip || engine.skip,
    timeout: 300_000,
  }, async (t) => {
    const step = stepsOf(t);
    const lab = await testLab(t, { hosts: 2 });
    const etcd = await startStore(lab, kind);
    await prepareEtcd(step, lab, api);
    const subnets: string[] = [];

    await step('4. flanneld starts with the flags of the scenario', async () => {
      for (const host of lab.hosts) {
        assert.deepEqual(flagsFor(host, etcd), [
          '-etcd-endpoints=http://172.16.70.190:2379',
          '-etcd-prefix=/flannel-vxlan/network',
          '--ip-masq=true',
          `--iface=${host.address}`,
        ]);
        const { subnetEnv } = await startFlanneld(host, flagsFor(host, etcd));
        subnets.push(subnetOf(subnetEnv));
      }
      assert.equal(new Set(subnets).size, 2);
      for (const [n, host] of lab.hosts.entries()) await waitForRoute(host, subnets[1 - n] ?? '');
    });

    await step('5. flannel.1 appears, and the kernel listens on UDP 8472', async () => {
      for (const host of lab.hosts) {
        const [device] = await host.ip(['-d', 'link', 'show', 'flannel.1']);
        assert.equal(device?.linkinfo?.info_kind, 'vxlan');
        assert.equal(device?.linkinfo?.info_data?.id, 1);
        assert.equal(device?.mtu, 1450);
        assert.match(await host.must(['busybox', 'netstat', '-tuan']), /^udp .* 0\.0\.0\.0:8472 /m);
      }
    });

    await step('6. etcd lists one key per host, and subnet.env says what Docker needs', async () => {
      const keys = await listKeys(etcd, api);
      assert.deepEqual(keys, subnets.map((subnet) => `${PREFIX}/subnets/${subnet}.0-24`).sort());
      for (const [n, host] of lab.hosts.entries()) {
        assert.equal(
          await host.read('/run/flannel/subnet.env'),
          `FLANNEL_NETWORK=10.0.0.0/16\nFLANNEL_SUBNET=${subnets[n]}.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n`,
        );
      }
    });

    const optionsOf = (env: string): string => /^DOCKER_OPTS="(.*)"$/m.exec(env)?.[1] ?? '';
    await step('7. mk-docker-opts turns it into dockerd’s options', async () => {
      for (const [n, host] of lab.hosts.entries()) {
        const command = [...firstInPath(engine.programs), MK_DOCKER_OPTS];
        await host.must([...command, '-d', '/run/docker_opts.env']);
        const file = (await host.read('/run/docker_opts.env')) ?? '';
        assert.equal(optionsOf(file), written(`${subnets[n]}.1/24`));
      }
    });

    const servers: Server[] = [];
    await step('8. dockerd runs with these options, and FORWARD drops what no rule accepts', async () => {
      for (const [n, host] of lab.hosts.entries()) {
        const file = (await host.read('/run/docker_opts.env')) ?? '';
        const options = optionsOf(file).split(' ').filter(Boolean);
        const { programs, config } = engine;
        const docker = await Docker.start(host, { options, cgroup: lab.cgroup, programs, config });
        await docker.buildImage();
        const [bridge] = await host.ip(['addr', 'show', 'docker0']);
        assert.equal(bridge?.addr_info?.[0]?.local, `${subnets[n]}.1`);
        // As dockerd sets it when it is the one that turns forwarding on; here flanneld was first.
        await host.must(['iptables', '-P', 'FORWARD', 'DROP']);
        const web = await docker.run('web', ['httpd', '-f', '-p', '0.0.0.0:8080', '-h', '/www']);
        await untilListening(web);
        const [device] = await host.ip(['link', 'show', 'flannel.1']);
        servers.push({ host, docker, web, subnet: subnets[n] ?? '', vtepMac: device?.address ?? '' });
      }
    });
    const [one, two] = servers;
    if (one === undefined || two === undefined) return;

    for (const [from, to] of [
      [one, two],
      [two, one],
    ] as const) {
      await step(
        `9. the container on ${from.host.name} reaches the other by ICMP and TCP, not masqueraded`,
        async () => {
          assert.equal(to.web.address, `${to.subnet}.2`);
          await from.docker.exec('web', ['ping', '-c', '2', '-w', '10', to.web.address]);
          const url = `http://${to.web.address}:8080/cgi-bin/caller`;
          assert.equal(
            await from.docker.exec('web', ['timeout', '5', 'wget', '-q', '-O-', url]),
            `${from.web.address}\n`,
          );
          const path = 1450 - 28;
          await from.web.must(['ping', '-c1', '-W5', '-M', 'do', '-s', String(path), to.web.address]);
        },
      );
      await step(`each hop from ${from.host.name} is as the scenario shows it`, () =>
        walk(etcd, api, from, to),
      );
    }

    await step('the wire carries the inner frame whole, in VXLAN to one host', () => watchWire(one, two));
  });
}

type Step = (name: string, body: () => Promise<void>) => Promise<void>;

/** Steps that stand on each other: after one that failed the rest is skipped. */
function stepsOf(t: TestContext): Step {
  let failed: string | undefined;
  return (name, body) =>
    t.test(name, { skip: failed === undefined ? false : `"${failed}" failed` }, async () => {
      try {
        await body();
      } catch (error) {
        failed = name;
        throw error;
      }
    });
}

/** Steps 1 to 3, in the words of the API. */
async function prepareEtcd(step: Step, lab: Lab, api: 2 | 3): Promise<void> {
  const ctl = ['env', `ETCDCTL_API=${api}`, 'etcdctl'];
  await step('1. etcd is healthy', async () => {
    if (api === 2) {
      const said = await lab.store.must([
        ...ctl,
        '--endpoint',
        'http://172.16.70.190:2379',
        'cluster-health',
      ]);
      assert.match(said, /cluster is healthy/);
    } else {
      const { stderr } = await lab.store.run([
        ...ctl,
        '--endpoints',
        'http://172.16.70.190:2379',
        'endpoint',
        'health',
      ]);
      assert.match(stderr, /is healthy/);
    }
  });
  await step('2. and 3. the network’s configuration is written', async () => {
    await lab.store.write('/run/flannel-vxlan.json', `${CONFIG}\n`);
    const script =
      api === 2
        ? `etcdctl --endpoint http://172.16.70.190:2379 mkdir flannel-vxlan/network
           etcdctl --endpoint http://172.16.70.190:2379 set flannel-vxlan/network/config < /run/flannel-vxlan.json`
        : 'etcdctl --endpoints http://172.16.70.190:2379 put /flannel-vxlan/network/config < /run/flannel-vxlan.json';
    await lab.store.must(['env', `ETCDCTL_API=${api}`, 'sh', '-ec', script]);
  });
}

async function listKeys(etcd: Store, api: 2 | 3): Promise<string[]> {
  const listed =
    api === 2
      ? await etcd.must(2, ['ls', 'flannel-vxlan/network/subnets'])
      : await etcd.must(3, ['get', '--prefix', '--keys-only', `${PREFIX}/subnets/`]);
  return listed.split('\n').filter(Boolean).sort();
}

/** The way of one packet from a container on one host to a container on the other, looked at with ordinary tools. */
async function walk(etcd: Store, api: 2 | 3, from: Server, to: Server): Promise<void> {
  // Container: the bridge is the way out.
  assert.match(
    await from.docker.exec('web', ['ip', 'route']),
    new RegExp(`^default via ${from.subnet}\\.1 dev eth0`, 'm'),
  );
  // Bridge: the container's veth is a port of docker0, where its subnet lives.
  const ports = await from.host.ip(['link', 'show', 'master', 'docker0', 'type', 'veth']);
  assert.equal(ports.length, 1);
  assert.match(await from.host.must(['ip', 'route']), new RegExp(`^${from.subnet}\\.0/24 dev docker0 `, 'm'));
  // Host route, word for word; what may follow is the routing protocol's name.
  const routes = (await from.host.must(['ip', 'route']))
    .split('\n')
    .map((line) => line.replace(/ proto \S+/, '').trim());
  assert.ok(routes.includes(`${to.subnet}.0/24 via ${to.subnet}.0 dev flannel.1 onlink`), routes.join('\n'));
  // VTEP's MAC: no ARP, the neighbour is permanent and is what the other host published.
  const neighbours = await from.host.must(['ip', 'neigh', 'show', 'dev', 'flannel.1']);
  assert.match(neighbours, new RegExp(`^${to.subnet}\\.0 lladdr ${to.vtepMac} .*PERMANENT`, 'm'));
  assert.match(
    await readLease(etcd, api, to.subnet),
    new RegExp(
      `^\\{"PublicIP":"${to.host.address}",("PublicIPv6":null,)?"BackendType":"vxlan",` +
        `"BackendData":\\{("VNI":1,)?"VtepMAC":"${to.vtepMac}"\\}`,
    ),
  );
  // Remote host: exactly one entry, which is one VTEP; nothing is flooded.
  const entries = await from.host.ip(['fdb', 'show', 'dev', 'flannel.1'], 'bridge');
  assert.deepEqual(
    entries.map((entry) => [entry.mac, entry.dst, entry.state]),
    [[to.vtepMac, to.host.address, 'permanent']],
  );
  // Other host: the subnet lives on its docker0.
  assert.match(await to.host.must(['ip', 'route', 'get', to.web.address]), / dev docker0 /);
}

/** One echo request on the underlay, taken apart byte by byte, and compared with what flannel.1 hands the other host. */
async function watchWire(from: Server, to: Server): Promise<void> {
  // Hosts measure each other with echoes of their own: the containers' are meant, by the inner IP's source.
  const source = from.web.address.split('.').map((byte) => Number(byte).toString(16).padStart(2, '0'));
  // Of the inner IP, which begins at 30, the protocol is ICMP: a connection of before may end late.
  const outerFilter = `udp dst port 8472 and src host 172.16.70.191 and udp[42:4] == 0x${source.join('')} and udp[39] == 1`;
  const wire = await Capture.start(from.host, 'eth0', outerFilter);
  const innerFilter = `icmp[icmptype] == icmp-echo and src host ${from.web.address}`;
  const arrived = await Capture.start(to.host, 'flannel.1', innerFilter);
  const arp = await Capture.start(from.host, 'flannel.1', 'arp');
  await from.docker.exec('web', ['ping', '-c', '1', '-w', '5', to.web.address]);
  await wire.waitFor(1);
  await arrived.waitFor(1);
  for (const capture of [wire, arrived, arp]) await capture.stop();
  assert.deepEqual(await arp.frames(), []);

  const [outer] = await wire.frames();
  const [inner] = await arrived.frames();
  assert.ok(outer && inner);
  const [outerIp, udp, vxlan, frame] = [
    outer.subarray(14),
    outer.subarray(34),
    outer.subarray(42),
    outer.subarray(50),
  ];
  assert.equal(outer.readUInt16BE(12), 0x0800, 'outer Ethernet: IPv4');
  assert.equal(outerIp[0], 0x45, 'outer IP: no options');
  assert.equal(outerIp[9], 17, 'outer IP: UDP');
  assert.deepEqual(
    [...outerIp.subarray(12, 20)],
    [172, 16, 70, 191, 172, 16, 70, 192],
    'outer IP: host to host',
  );
  assert.equal(udp.readUInt16BE(2), 8472, 'UDP: to port 8472');
  assert.equal(udp.readUInt16BE(4), 8 + 8 + frame.length, 'UDP: length');
  assert.equal(vxlan[0], 0x08, 'VXLAN: flags, the VNI is valid');
  assert.equal(vxlan.readUInt32BE(4) >>> 8, 1, 'VXLAN: VNI');
  assert.equal(macOf(frame, 0), to.vtepMac, 'inner Ethernet: to the other VTEP');
  assert.equal(macOf(frame, 6), from.vtepMac, 'inner Ethernet: from this VTEP');
  const innerIp = frame.subarray(14);
  assert.equal(frame.readUInt16BE(12), 0x0800, 'inner Ethernet: IPv4');
  assert.equal(innerIp.readUInt16BE(2), innerIp.length, 'inner IP: whole');
  assert.equal(innerIp[9], 1, 'inner IP: ICMP');
  const addresses = [...innerIp.subarray(12, 20)].join('.');
  assert.equal(addresses, `${from.web.address}.${to.web.address}`, 'inner IP: container to container');
  assert.deepEqual(frame, inner, 'the frame that arrives is the frame that was sent');
  const text = await wire.text(['-vv', '-T', 'vxlan']);
  assert.match(text, /VXLAN, flags \[I\] \(0x08\), vni 1/);
}

const macOf = (frame: Buffer, offset: number): string =>
  Array.from(frame.subarray(offset, offset + 6), (byte) => byte.toString(16).padStart(2, '0')).join(':');
