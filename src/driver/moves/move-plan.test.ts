import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DescribedContainer } from '#src/docker/container-api.ts';
import { type MoveFacts, planMove } from '#src/driver/moves/move-plan.ts';

const WEB: DescribedContainer = {
  id: 'c'.repeat(64),
  name: 'web',
  running: true,
  exitCode: 0,
  fault: '',
  imageId: 'sha256:ab',
  image: 'shop:1',
  config: { Image: 'shop:1', MacAddress: '02:42:0a:05:00:07' },
  hostConfig: { NetworkMode: 'blue', RestartPolicy: { Name: 'always' } },
  mounts: [],
  networks: [
    { network: 'red', networkId: 'r', ipv4: '10.6.0.7', ipv6: '', mac: '02:42:0a:06:00:07', aliases: [] },
    {
      network: 'blue',
      networkId: 'b',
      ipv4: '10.5.0.7',
      ipv6: 'fd00::7',
      mac: '02:42:0a:05:00:07',
      aliases: ['shop'],
    },
  ],
};
const TENANTS: Readonly<Record<string, string>> = { b: 'blue', r: 'red' };

const plan = (fields: Partial<DescribedContainer> = {}, facts: Partial<MoveFacts> = {}) =>
  planMove({
    container: { ...WEB, ...fields },
    tenantOf: (id) => TENANTS[id],
    changedFiles: 0,
    layers: [],
    to: 'h2',
    keep: false,
    anyImage: false,
    checkpoint: undefined,
    ...facts,
  });

function moved(fields: Partial<DescribedContainer> = {}, facts: Partial<MoveFacts> = {}) {
  const made = plan(fields, facts);
  assert.ok(made.kind === 'move', made.kind === 'refuse' ? made.reason : '');
  return { ...made.container, lines: made.lines };
}

test('the network that it was made with comes first, and what is this host’s own is left out', () => {
  const { networks, config, hostConfig } = moved();
  assert.deepEqual(networks, [
    { tenant: 'blue', ipv4: '10.5.0.7', ipv6: 'fd00::7', aliases: ['shop'] },
    { tenant: 'red', ipv4: '10.6.0.7', ipv6: '', aliases: [] },
  ]);
  assert.deepEqual(config, { Image: 'shop:1' });
  assert.deepEqual(hostConfig, { RestartPolicy: { Name: 'always' } });
});

test('what moves and what does not is said', () => {
  const bridge = { network: 'bridge', networkId: 'x', ipv4: '172.17.0.2', ipv6: '', mac: '', aliases: [] };
  const { lines, ports } = moved(
    {
      networks: [...WEB.networks, bridge],
      mounts: [
        { type: 'volume', name: 'data', source: '/v', destination: '/data' },
        { type: 'volume', name: 'f'.repeat(64), source: '/v', destination: '/cache' },
        { type: 'bind', name: '', source: '/srv', destination: '/conf' },
        { type: 'tmpfs', name: '', source: '', destination: '/tmp' },
      ],
      hostConfig: {
        ...WEB.hostConfig,
        PortBindings: {
          '80/tcp': [{ HostIp: '', HostPort: '8080' }],
          '53/udp': [{ HostIp: '192.0.2.1', HostPort: '53' }],
          '90/tcp': [{ HostIp: '', HostPort: '' }],
        },
      },
    },
    { changedFiles: 3 },
  );
  assert.deepEqual(ports, [
    { ip: '', port: 8080, protocol: 'tcp' },
    { ip: '192.0.2.1', port: 53, protocol: 'udp' },
  ]);
  assert.deepEqual(lines, [
    'moves    network blue: 10.5.0.7, fd00::7, 02:42:0a:05:00:07, as web, shop',
    'moves    network red: 10.6.0.7, 02:42:0a:06:00:07, as web',
    'new      another address on the default bridge of h2',
    'moves    its configuration: command, environment, labels, limits, restart policy',
    'new      published port 8080/tcp at the addresses of h2, and no longer here',
    'new      published port 53/udp at 192.0.2.1, and no longer here',
    'new      published ports without a number get one on h2',
    'stays    volume data at /data: it finds the one of that name on h2, or an empty one',
    'stays    volume ffffffffffff at /cache: it finds the one of that name on h2, or an empty one',
    'stays    /srv at /conf: it finds what h2 has there',
    'stays    what is in memory at /tmp',
    'stays    3 files that it changed outside of volumes: they are gone afterwards, unless --keep',
    'stays    its log, which is removed with it',
    'ends     every connection of TCP: the process ends here and starts there',
    'goes on  what needs no connection (UDP) and clients that connect again: they find the same address and MAC',
  ]);
  const frozen = moved({}, { checkpoint: '/shared/weft-m1' });
  assert.equal(frozen.checkpoint, '/shared/weft-m1');
  assert.match(frozen.lines.join('\n'), /goes on {2}its processes, .*\nends +connections by published ports/);
  const kept = moved({}, { changedFiles: 1, keep: true }).lines.join('\n');
  assert.match(kept, /they are in web-moved afterwards/);
});

test('what can’t be moved is refused with the reason', () => {
  const refused = (fields: Partial<DescribedContainer>): string => {
    const made = plan(fields);
    assert.ok(made.kind === 'refuse');
    assert.ok(made.remedy.length > 5);
    return made.reason;
  };
  const withHost = (fields: DescribedContainer['hostConfig']) =>
    refused({ hostConfig: { ...WEB.hostConfig, ...fields } });
  assert.match(refused({ running: false }), /it does not run/);
  assert.match(refused({ config: { Labels: { 'com.docker.swarm.service.id': 'x' } } }), /swarm/);
  assert.match(withHost({ AutoRemove: true }), /--rm/);
  assert.match(withHost({ PidMode: 'container:x' }), /shares a namespace .*PidMode container:x/);
  assert.match(withHost({ VolumesFrom: ['x'] }), /depends on other containers here \(VolumesFrom\)/);
  const foreign = { network: 'local', networkId: 'l', ipv4: '', ipv6: '', mac: '', aliases: [] };
  assert.match(refused({ networks: [...WEB.networks, foreign] }), /it is on network local/);
  assert.match(refused({ networks: [{ ...foreign, network: 'host' }] }), /it is on network host/);
  assert.match(refused({ networks: [{ ...foreign, network: 'bridge' }] }), /on no network of weft/);
});
