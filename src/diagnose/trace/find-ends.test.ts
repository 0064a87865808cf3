import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseContainers, type RunningContainer } from '#src/diagnose/facts/containers.ts';
import type { KnownNetwork } from '#src/diagnose/known-network.ts';
import { findPair } from '#src/diagnose/trace/find-ends.ts';
import type { LocalHost } from '#src/diagnose/trace/local-host.ts';
import { type Prefix4, type Prefix6, parsePrefix4, parsePrefix6 } from '#src/lib/ip.ts';

const V4: Prefix4 = parsePrefix4('10.0.0.0/16') ?? assert.fail();
const V6: Prefix6 = parsePrefix6('fd00:10::/48') ?? assert.fail();

/** A container as Docker lists it, in one network with both families. */
const docker = (name: string, ip: string, ip6: string) => ({
  Id: name.padEnd(64, '0'),
  Names: [`/${name}`],
  NetworkSettings: { Networks: { bridge: { IPAddress: ip, GlobalIPv6Address: ip6 }, none: null } },
});

function look(networks: Pick<KnownNetwork, 'networks'>['networks'], containers: readonly RunningContainer[]) {
  const host = { name: 'h1', known: { networks } } as unknown as LocalHost;
  return async (from: string, to: string, ipv6 = false) => {
    const pair = await findPair({ host, containers, askPeers: async () => [] }, [from, to], { ipv6 });
    return [pair.from.address, pair.to.address];
  };
}

const BOTH = parseContainers(
  JSON.stringify([
    docker('a', '10.0.1.2', 'fd00:10:0:1::2'),
    docker('b', '10.0.2.2', 'fd00:10:0:2::2'),
    docker('c', '10.0.3.2', ''),
  ]),
);

test('names mean the way of IPv4, or that of IPv6 where it is wished', async () => {
  const find = look({ v4: V4, v6: V6 }, BOTH);
  assert.deepEqual(await find('a', 'b'), ['10.0.1.2', '10.0.2.2']);
  assert.deepEqual(await find('a', 'b', true), ['fd00:10:0:1::2', 'fd00:10:0:2::2']);
  assert.deepEqual(await find('a', 'fd00:10:0:2::9'), ['fd00:10:0:1::2', 'fd00:10:0:2::9']);
});

test('in a network of IPv6 alone they mean that, whatever IPv4 Docker gave them', async () => {
  const find = look({ v6: V6 }, BOTH);
  assert.deepEqual(await find('a', 'b'), ['fd00:10:0:1::2', 'fd00:10:0:2::2']);
  await assert.rejects(find('a', 'c'), {
    code: 'trace-outside',
    message: /^10\.0\.1\.2 is not in the network/,
  });
});

test('what can not be wished, and two families, are refused', async () => {
  const find = look({ v4: V4, v6: V6 }, BOTH);
  await assert.rejects(find('a', 'c', true), { message: /^there is no way of IPv6 from a to c$/ });
  await assert.rejects(find('10.0.1.2', 'fd00:10:0:2::2'), { message: /they are of two families$/ });
});
