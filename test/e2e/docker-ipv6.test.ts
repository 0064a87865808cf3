import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containsAddress, formatIpv6, parseIpv6, parsePrefix6 } from '#src/lib/ip.ts';
import { dockerEngines } from '../support/docker-engines.ts';
import { assertReach, type DockerNode, dockerNetwork } from '../support/docker-network.ts';
import { giveIpv6, wholePacket } from '../support/dual-network.ts';
import { daemonLog, WEFT } from '../support/flanneld.ts';
import { waitForAnswer } from '../support/pings.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * Containers of Docker's default bridge in both families, with what `mk-docker-opts --ipv6` writes and nothing else:
 *
 *     store .190     h1 .191, fd77::1 flanneld, dockerd ── docker0 ── web     h2 .192, fd77::2: the same
 *                                          10.0.A.1, fd00:10:0:A::1
 */
const cannot = cannotRun('dockerd', 'docker', 'busybox', 'ping', 'nft', 'iptables');
const CONFIG =
  '{"Network":"10.0.0.0/16","SubnetLen":24,"EnableIPv6":true,"IPv6Network":"fd00:10::/48","Backend":{"Type":"vxlan"}}';

/** The address that Docker gave to the container, which is in the subnet of subnet.env, and the bridge's. */
async function addressOf({ host, docker }: DockerNode) {
  const format = '{{range .NetworkSettings.Networks}}{{.GlobalIPv6Address}}{{end}}';
  const said = (await docker.must(['inspect', '--format', format, 'web'])).trim();
  const written = /^FLANNEL_IPV6_SUBNET=(.+)$/m.exec((await host.read('/run/flannel/subnet.env')) ?? '')?.[1];
  const [address, subnet] = [parseIpv6(said), parsePrefix6(written ?? '')];
  assert.ok(address !== undefined && subnet !== undefined, `"${said}", ${written}`);
  assert.ok(containsAddress(subnet, address), `${said} in ${written}`);
  return { address: said, gateway: formatIpv6(subnet.address) };
}

/** Waits for an answer; without one, the error has what both families' objects and the host's checks say. */
const answers = (from: DockerNode, to: string): Promise<void> =>
  waitForAnswer(from.web, to).catch(async (error: Error) => {
    const shown = await from.host.run(['sh', '-c', SHOW]);
    const { stdout } = await from.host.run([WEFT, 'doctor', ...from.flags]);
    throw new Error(`${error.message}\n${shown.stdout}\n${stdout}\n${await daemonLog(from.host)}`);
  });
const SHOW = `ip -6 route; ip -6 neigh; ip -6 addr; bridge fdb show | grep dst; ip6tables-save 2>/dev/null; nft list ruleset`;

for (const engine of Object.values(dockerEngines())) {
  test(`${engine.called}: containers of two hosts reach each other in both families`, {
    skip: cannot || engine.skip,
    timeout: 300_000,
  }, async (t) => {
    const network = await dockerNetwork(t, {
      engine,
      config: CONFIG,
      dockerOptions: ['--ipv6'],
      beforeStart: giveIpv6,
    });
    await assertReach(network);
    const [one, two] = network.nodes;
    const [near, far] = [await addressOf(one), await addressOf(two)];
    // A bridge that is new looks for duplicates of its own IPv6 address first.
    await answers(one, far.address);
    await answers(two, near.address);
    assert.ok(await wholePacket(one.web, far.address, 1430), 'from the first host');
    assert.ok(await wholePacket(two.web, near.address, 1430), 'from the second');
    // Whoever asks is seen as who he is: an answer to another address would have no way.
    await two.web.batch([
      `route del default via ${far.gateway}`,
      `route add ${near.address}/128 via ${far.gateway}`,
    ]);
    assert.ok(await wholePacket(one.web, far.address, 1430), 'seen by its own address');
    const { stdout } = await one.host.run([WEFT, 'doctor', '--json', ...one.flags]);
    const said = JSON.parse(stdout) as { networks: { findings: { id: string; what: string }[] }[] };
    const ids = said.networks.flatMap(({ findings }) => findings);
    assert.deepEqual(
      ids.filter(({ id }) => id !== 'registry-unreachable'),
      [],
    );
  });
}

test('without --ipv6 doctor says what Docker lacks', { skip: cannot, timeout: 300_000 }, async (t) => {
  const { debian, iptables } = dockerEngines();
  const engine = debian.skip ? iptables : debian;
  if (engine.skip) return t.skip(engine.skip);
  const { nodes } = await dockerNetwork(t, { engine, config: CONFIG, beforeStart: giveIpv6 });
  const [{ host, flags }] = nodes;
  const { stdout } = await host.run([WEFT, 'doctor', '--json', ...flags]);
  assert.match(stdout, /"what": "dockerd was started without --ipv6: /);
});
