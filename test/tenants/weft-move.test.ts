import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { describe, type TestContext, test } from 'node:test';
import type { Daemon } from '#src/lab/daemon.ts';
import { IMAGE } from '#src/lab/docker.ts';
import { callerSeenBy, Traffic } from '#src/lab/traffic.ts';
import { systemCommands } from '#src/sys/command.ts';
import { until } from '#src/sys/until.ts';
import { cannotCheckpoint, keepConnections } from '../support/checkpoints.ts';
import { dockerEngines } from '../support/docker-engines.ts';
import { WEB } from '../support/docker-network.ts';
import { startDriver, type TenantHost } from '../support/docker-tenant-host.ts';
import {
  cannotRunTenants,
  createTenant,
  newName,
  sharedTenants,
  type Tenants,
  tenantHosts,
  threeOf,
} from '../support/docker-tenants.ts';
import type { CallReport } from '../support/echo-process.ts';
import { inRepository, WEFT } from '../support/flanneld.ts';
import { waitForAnswer } from '../support/pings.ts';
import { scratchFolder } from '../support/scratch-folder.ts';
import { assertViewsAgree, storedKeys } from '../support/tenant-views.ts';

/*
 * `weft move`: a container is stopped on one host and started on another (docker-driver.md §3.5):
 *
 *     h1 .191  web .50, then not      h2 .192 --accept-moves, then web .50      h3 .193 client; accepts no moves
 */
const cannot = cannotRunTenants();
const { debian, iptables } = dockerEngines();

/** A first process that SIGTERM does not end: Docker waits for the container's timeout. */
const STUBBORN = ['sh', '-c', `trap '' TERM; ${WEB.join(' ')} & while :; do sleep 1; done`];
const STUBBORN_OPTIONS = ['--stop-signal', 'SIGTERM', '--stop-timeout', '4'];

/** A step of a move, on a busy machine. */
const MOVING_MS = 60_000;

/** The image, below each host's /var/lib. */
const ARCHIVE = '/var/lib/image.tar';

interface Inspected {
  readonly Id: string;
  readonly State: { readonly Running: boolean; readonly StartedAt: string };
  readonly Config: {
    readonly Env: readonly string[];
    readonly Cmd: readonly string[];
    readonly Hostname: string;
    readonly Labels: Readonly<Record<string, string>>;
  };
  readonly HostConfig: {
    readonly RestartPolicy: object;
    readonly Memory: number;
    readonly PortBindings: object;
  };
}

const inspected = ({ docker }: TenantHost, name: string): Promise<Inspected | undefined> =>
  docker.look(`/containers/${name}/json`) as Promise<Inspected | undefined>;

/** The image of h1 in place of each host's own, which has another ID. */
async function shareImage({ hosts: [one, ...others] }: Tenants): Promise<void> {
  assert.ok(one);
  await one.must(['save', '-o', ARCHIVE, IMAGE]);
  for (const host of others) {
    await systemCommands.run(['cp', one.host.path(ARCHIVE), host.host.path(ARCHIVE)]);
    await host.must(['load', '-i', ARCHIVE]);
  }
}

async function refuseMoves(host: TenantHost): Promise<void> {
  await host.stopFlanneld();
  await startDriver(
    host.host,
    host.flags.filter((flag) => flag !== '--accept-moves'),
  );
}

async function prepare(tenants: Tenants): Promise<void> {
  await shareImage(tenants);
  await refuseMoves(threeOf(tenants)[2]);
}

const noMoves = (tenants: Tenants): Promise<unknown> =>
  until(async () => (await storedKeys(tenants, 'moves')).size === 0, {
    what: 'end of all moves in the registry',
    timeoutMs: MOVING_MS,
  });

/** `weft move` under a name, as a process that can be killed. */
const startMove = ({ host, flags }: TenantHost, name: string, to: TenantHost): Promise<Daemon> =>
  host.start(`move-${name}`, [WEFT, 'move', name, `--to=${to.name}`, '--yes', ...flags]);

for (const [here, there] of [
  [iptables, debian],
  [debian, iptables],
] as const) {
  describe(`${here.called} to ${there.called}`, () => {
    const skip = cannot || here.skip || there.skip;
    const engines = [here, there] as const;
    const tenants = sharedTenants(skip, { hosts: 3, engines, flags: ['--accept-moves'] }, prepare);

    test('a container moves with all that makes it, under a running ping', { skip }, async (t) => {
      const [one, two, three] = threeOf(tenants());
      const [blue, red] = [newName(), newName()];
      await createTenant(tenants(), blue, { subnet: '10.81.0.0/24' });
      await createTenant(tenants(), red, { subnet: '10.82.0.0/24' });
      const options = ['--ip', '10.81.0.50', '--network-alias', 'shop', '-e', 'A=b', '--label', 'c=d'];
      const limits = ['-m', '64m', '-p', '8080:8080', '--restart', 'on-failure:3'];
      await one.run('web', blue, [...options, ...limits], WEB);
      await one.must(['network', 'connect', red, 'web']);
      const before = await inspected(one, 'web');
      const inRed = await one.attachment('web', red);
      const inBlue = await one.attachment('web', blue);
      assert.ok(before && inRed && inBlue);
      const client = await three.run('client', blue);
      await waitForAnswer(client, '10.81.0.50');

      const plan = await one.mustWeft(['move', 'web', '--to=h2', '--dry-run']);
      assert.match(plan, /moves +network tenant\d+: 10\.81\.0\.50, 02:42:0a:51:00:32, as web, shop/);
      assert.match(plan, /new +published port 8080\/tcp/);
      assert.match(plan, /ends +every connection of TCP/);
      assert.match(plan, /nothing was changed/);
      await noMoves(tenants());
      assert.deepEqual(await inspected(one, 'web'), before);

      const traffic = await Traffic.start(client, '10.81.0.50', { perSecond: 100 });
      const said = await one.mustWeft(['move', 'web', '--to=h2', '--yes']);
      assert.match(said, /made on host h2\n.*stopped here\n.*runs on host h2\n.*removed here/);
      const view = await traffic.stop();
      t.diagnostic(`ping's view: ${view.lost} of ${view.sent} lost, gap ${view.longestGapMs} ms`);
      assert.ok(view.received > 0);

      assert.equal(await inspected(one, 'web'), undefined);
      const after = await inspected(two, 'web');
      assert.ok(after?.State.Running);
      const { 'weft.move': _, ...labels } = after.Config.Labels;
      assert.deepEqual(labels, before.Config.Labels);
      for (const field of ['Env', 'Cmd', 'Hostname'] as const)
        assert.deepEqual(after.Config[field], before.Config[field]);
      for (const field of ['RestartPolicy', 'Memory', 'PortBindings'] as const)
        assert.deepEqual(after.HostConfig[field], before.HostConfig[field]);
      for (const [network, then] of [
        [blue, inBlue],
        [red, inRed],
      ] as const) {
        const now = await two.attachment('web', network);
        assert.deepEqual([now?.IPAddress, now?.MacAddress], [then.IPAddress, then.MacAddress]);
      }
      await two.untilServing('web');
      assert.equal(await callerSeenBy(client, '10.81.0.50'), client.address);
      assert.equal(await callerSeenBy(one.host, two.address), one.address);
      await noMoves(tenants());
      await assertViewsAgree(tenants());

      // And back, where it leaves what it was.
      await two.mustWeft(['move', 'web', '--to', 'h1', '--yes', '--keep']);
      assert.equal((await inspected(one, 'web'))?.State.Running, true);
      assert.equal((await inspected(two, 'web-moved'))?.State.Running, false);
      await one.untilServing('web');
      assert.equal(await callerSeenBy(client, '10.81.0.50'), client.address);
      await two.remove('web-moved');
      await one.remove('web');
      await three.remove('client');
    });
  });
}

describe('what goes wrong', () => {
  const skip = cannot || debian.skip;
  const tenants = sharedTenants(skip, { hosts: 3, flags: ['--accept-moves'] }, prepare);

  /** A container on h1 that answers a client on h3. */
  async function scene(
    t: TestContext,
    subnet: string,
    options: readonly string[] = [],
    command: readonly string[] = WEB,
  ) {
    const [one, two, three] = threeOf(tenants());
    const network = newName();
    const name = `web-${network}`;
    await createTenant(tenants(), network, { subnet });
    const ip = subnet.replace('0/24', '50');
    await one.run(name, network, ['--ip', ip, ...options], command);
    const client = await three.run(`client-${network}`, network);
    t.after(() => Promise.all([one, two].map((host) => host.attempt(['rm', '-f', name]))));
    await waitForAnswer(client, ip);
    return { one, two, three, name, network, ip, client };
  }

  /** It answers, on one host alone, and no other host has anything of it. */
  async function isOn(
    host: TenantHost,
    name: string,
    ip: string,
    client: Awaited<ReturnType<typeof scene>>['client'],
  ) {
    // While it goes on, the former container still answers, and ends in the middle of a call.
    await noMoves(tenants());
    const isRight = async (each: TenantHost): Promise<boolean> =>
      (await inspected(each, name))?.State.Running === (each === host ? true : undefined);
    for (const each of tenants().hosts) {
      const what = each === host ? `${name} on ${each.name}` : `end of ${name} on ${each.name}`;
      await until(() => isRight(each), { what, timeoutMs: 30_000 });
    }
    await waitForAnswer(client, ip, 60_000);
    await host.untilServing(name);
    assert.equal(await callerSeenBy(client, ip), client.address);
    await assertViewsAgree(tenants());
  }

  test('what the other host can’t take is refused before anything is touched', { skip }, async (t) => {
    const { one, two, name, network, ip, client } = await scene(t, '10.83.0.0/24', ['-p', '8081:8080']);
    const started = (await inspected(one, name))?.State.StartedAt;
    const refused = async (words: readonly string[], expected: RegExp): Promise<void> => {
      const { code, stderr } = await one.weft(['move', ...words, '--yes']);
      assert.equal(code, 1, stderr);
      assert.match(stderr, expected);
      assert.equal((await inspected(one, name))?.State.StartedAt, started);
    };
    await refused([name, '--to=h3'], /host h3 takes no containers .* without --accept-moves/);
    await refused([name, '--to=h9'], /there is no host h9/);
    await refused([name, '--to=h1'], /host h1 is this one/);
    await refused(['nobody', '--to=h2'], /there is no container nobody/);
    await two.run('other', network, ['-p', '8081:8080'], WEB);
    await refused([name, '--to=h2'], /port 8081\/tcp of host h2 is that of container other/);
    await two.must(['rename', 'other', name]);
    await refused([name, '--to=h2'], /there is a container .* on host h2 already/);
    await two.remove(name);
    await one.must(['network', 'create', 'local']);
    await one.must(['network', 'connect', 'local', name]);
    await refused([name, '--to=h2'], /it is on network local/);
    await one.must(['network', 'disconnect', 'local', name]);
    await two.must(['rmi', '-f', IMAGE]);
    await refused(
      [name, '--to=h2'],
      /image weft-lab is not on host h2: "docker pull weft-lab" there, or "docker save/,
    );
    await two.docker.buildImage();
    await refused([name, '--to=h2'], /image weft-lab is another one on host h2/);
    await two.must(['load', '-i', ARCHIVE]);
    await isOn(one, name, ip, client);
  });

  test('one that can’t start on the other host is started here again', { skip }, async (t) => {
    const { one, two, name, ip, client } = await scene(t, '10.84.0.0/24', ['-p', '8082:8080']);
    // Not Docker's: nobody sees it before.
    const taker = await two.host.start('taker', ['busybox', 'httpd', '-f', '-p', '8082']);
    await until(async () => (await two.host.run(['ss', '-Hltn', 'sport = :8082'])).stdout !== '', {
      what: 'a listener',
    });
    const { code, stdout } = await one.weft(['move', name, '--to=h2', '--yes']);
    await taker.stop();
    assert.equal(code, 1);
    assert.match(stdout, /stopped here\n.*started here again\n.*not moved: .*8082/);
    await isOn(one, name, ip, client);
  });

  test('the other daemon is killed when the container has stopped', { skip }, async (t) => {
    const { one, two, name, ip, client } = await scene(t, '10.85.0.0/24', STUBBORN_OPTIONS, STUBBORN);
    const move = await startMove(one, name, two);
    await move.waitForLog(/made on host h2/, MOVING_MS);
    // In the seconds that the container takes to stop.
    await two.killFlanneld();
    await move.waitForLog(/not moved: host h2 did not go on/, 90_000);
    assert.equal((await inspected(one, name))?.State.Running, true);
    await two.startFlanneld();
    await isOn(one, name, ip, client);
  });

  test('the command is killed: the move goes on', { skip }, async (t) => {
    const { one, two, name, ip, client } = await scene(t, '10.86.0.0/24', STUBBORN_OPTIONS, STUBBORN);
    const move = await startMove(one, name, two);
    await move.waitForLog(/made on host h2/, MOVING_MS);
    move.kill('SIGKILL');
    await isOn(two, name, ip, client);
  });

  test('this daemon is killed while the container stops: its next process goes on', { skip }, async (t) => {
    const { one, two, name, ip, client } = await scene(t, '10.87.0.0/24', STUBBORN_OPTIONS, STUBBORN);
    const move = await startMove(one, name, two);
    await move.waitForLog(/made on host h2/, MOVING_MS);
    await one.killFlanneld();
    await one.startFlanneld();
    await move.waitForLog(/runs on host h2/, MOVING_MS);
    assert.equal(await move.exited(), 0);
    await isOn(two, name, ip, client);
  });
});

test('processes are restored on the other host, with their connections', {
  skip: cannot || debian.skip || (await cannotCheckpoint()),
}, async (t) => {
  const tenants = await tenantHosts(t, {
    hosts: 3,
    dockerConfig: { experimental: true },
    flags: ['--accept-moves'],
  });
  await shareImage(tenants);
  const [one, two, three] = threeOf(tenants);
  // All hosts of a lab see the machine's /tmp.
  const shared = scratchFolder(t);
  const network = newName();
  await createTenant(tenants, network, { subnet: '10.88.0.0/24' });
  const options = ['--ip', '10.88.0.50', '--security-opt', 'seccomp=unconfined'];
  await one.run('moves', network, options, ['nc', '-ll', '-p', '7', '-e', 'cat']);
  const client = await three.run('client', network);
  await waitForAnswer(client, '10.88.0.50');
  const words = ['move', 'moves', '--to=h2', '--yes', `--checkpoint-dir=${shared}`];
  const { stderr } = await one.weft(words);
  assert.match(stderr, /can't be frozen here: .*tcp-established/);
  for (const { host } of [one, two]) await keepConnections(host);

  const program = inRepository('test/support/echo-process.ts');
  const call = await client.start('call', [
    ...[process.execPath, program, 'call', '--address=10.88.0.50', '--port=7', '--ms=5000'],
  ]);
  await call.waitForLog(/calling\n/);
  const said = await one.mustWeft(words);
  assert.match(said, /goes on {2}its processes, frozen here and restored there/);
  assert.match(said, /made on host h2\n.*frozen here\n.*runs on host h2\n.*removed here/);
  const [, report = ''] = await call.waitForLog(/calling\n(.*)\n/, 60_000);
  const { tcp } = JSON.parse(report) as CallReport;
  t.diagnostic(`${tcp.received} of ${tcp.sent} bytes echoed, gap ${tcp.longestGapMs} ms`);
  assert.ok(tcp.isKept, report);
  assert.equal(await inspected(one, 'moves'), undefined);
  assert.equal((await inspected(two, 'moves'))?.State.Running, true);
  assert.deepEqual(readdirSync(shared), []);
  await assertViewsAgree(tenants);
});
