import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type ForeseenTenants, foreseeTenants } from '#src/driver/foresee-tenants.ts';
import { MemoryKernel } from '#src/kernel/memory-kernel.ts';
import { ipv4 } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import type { Mac } from '#src/lib/mac.ts';
import { Reconciler } from '#src/reconcile/reconciler.ts';
import { SysctlActuator } from '#src/reconcile/sysctl-actuator.ts';
import { MemoryRecordFolders } from '#src/registry/memory-record-folders.ts';
import type { KernelObject } from '#src/state/object.ts';
import { commandOf } from '#src/state/operation.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemRandom } from '#src/sys/random.ts';
import { until } from '#src/sys/until.ts';
import { driverHost, memoryFiles } from '../../test/support/driver-host.ts';

/*
 * Host 1 with a container of the network blue, and host 2 with another; kernels, files and the registry are in memory. The
 * driver of host 1 has ended.
 */
async function host(t: TestContext) {
  const folders = new MemoryRecordFolders({ clock: systemClock });
  const [kernel, files] = [new MemoryKernel(), new Map<string, string>()];
  const options = { n: 1, folders, kernel, files };
  const one = await driverHost(t, options);
  const two = await driverHost(t, { n: 2, folders });
  await one.createNetwork({ subnet: '10.5.0.0/24', vni: '70001' });
  await two.createNetwork();
  await one.run(1, '10.5.0.11');
  await two.run(2, '10.5.0.12');
  await until(() => kernel.text.some((line) => line.includes('dst 172.16.70.192')), {
    what: 'entry of host 2',
  });
  await one.stop();
  return { folders, kernel, files, start: () => driverHost(t, options) };
}

type StoppedHost = Awaited<ReturnType<typeof host>>;

const foresee = ({ folders, kernel, files }: StoppedHost): Promise<ForeseenTenants> => {
  const there = new Map(
    Array.from(files, ([path, text]) => [path.replace(/^book/, '/state/docker.json'), text]),
  );
  const vtep = ipv4(0xac1046bf);
  return foreseeTenants(
    {
      folders,
      kernel,
      reconciler: new Reconciler(
        {
          actuators: [kernel, new SysctlActuator({ files: { read: async () => '0', write: fail } })],
          clock: systemClock,
          log: silentLogger,
        },
        { fullCheckMs: 3_600_000, fullCheckShare: 1 },
      ),
      rules: {
        setPort: async () => {},
        removePort: async () => {},
        setPeers: async () => {},
        plan: async () => ({ inside: undefined, host: undefined }),
      },
      ends: {
        isThere: () => true,
        nameOf: async () => undefined,
        namesIn: async () => [],
        needsMending: async () => false,
        forbidsIpv6: async () => false,
      },
      files: {
        ...memoryFiles(there),
        writeAtomically: fail,
        append: fail,
        createExclusively: fail,
        write: fail,
        remove: fail,
      },
      clock: systemClock,
      random: systemRandom,
      createLogger: () => silentLogger,
      place: () => ({ vtep, local: vtep, mtu: 1_500, port: 8_473, device: 'eth0' }),
    },
    {
      stateDir: '/state',
      identity: { id: 'host1', hostName: 'host1', bootId: 'b', version: '1' },
      dockerNetworks: 'all',
    },
    AbortSignal.timeout(60_000),
  );
};

const fail = async (): Promise<never> => {
  throw new Error('a plan writes nothing');
};

/** Settings are not among what {@link MemoryKernel} keeps. */
const commandsOf = ({ operations }: ForeseenTenants): string[] =>
  operations.filter(({ object }) => object.kind !== 'sysctl').map(commandOf);

test('at rest a start changes nothing, and a plan of it neither', async (t) => {
  const stopped = await host(t);
  const before = [stopped.kernel.text, [...stopped.files], stopped.kernel.history.length];
  const foreseen = await foresee(stopped);
  assert.deepEqual(commandsOf(foreseen), []);
  assert.deepEqual([foreseen.writes, foreseen.unknownToDocker, foreseen.hasNoBook], [[], [], false]);
  assert.deepEqual([stopped.kernel.text, [...stopped.files], stopped.kernel.history.length], before);
});

const link = (name: string): KernelObject => ({ kind: 'link', name });
const ENTRY: KernelObject = {
  kind: 'fdb',
  mac: '02:42:0a:05:00:0c' as Mac,
  device: 'vx-70001',
  destination: ipv4(0xac1046c0),
  permanent: true,
};
const LOST: readonly (readonly [string, readonly KernelObject[]])[] = [
  ['the bridge', [link('br-70001')]],
  ['an entry of another host', [ENTRY]],
  ['everything', [link('br-70001'), link('vx-70001'), link('p0000000100000')]],
];
for (const [what, objects] of LOST) {
  test(`${what} is gone: the operations are those of the next start, each once`, async (t) => {
    const stopped = await host(t);
    for (const object of objects) stopped.kernel.interfere({ verb: 'remove', object });
    const planned = commandsOf(await foresee(stopped));
    assert.ok(planned.length > 0);
    const before = stopped.kernel.history.length;
    const again = await stopped.start();
    await again.present.get('blue')?.addresses.isListed;
    await until(async () => commandsOf(await foresee(stopped)).length === 0, { what: 'all as wanted' });
    assert.deepEqual(stopped.kernel.history.slice(before).sort(), planned.sort());
  });
}

test('what nobody wants is removed, but not where there is no book', async (t) => {
  const stopped = await host(t);
  stopped.kernel.interfere({ verb: 'add', object: { kind: 'link', name: 'br-9', type: 'bridge' } });
  assert.deepEqual(commandsOf(await foresee(stopped)), ['ip link del br-9']);
  stopped.files.clear();
  const foreseen = await foresee(stopped);
  assert.deepEqual(commandsOf(foreseen), []);
  assert.deepEqual([foreseen.hasNoBook, foreseen.unknownToDocker], [true, ['blue']]);
});
