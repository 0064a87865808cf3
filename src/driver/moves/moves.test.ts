import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Checkpoints } from '#src/driver/moves/checkpoints.ts';
import { WeftError } from '#src/lib/errors.ts';
import { until } from '#src/sys/until.ts';
import {
  assertNothingLeft,
  type MovingHost,
  movingHosts,
  records,
  WEB,
} from '../../../test/support/moving-hosts.ts';

const { signal } = new AbortController();

const wish = { container: 'web', to: 'h2', keep: false, anyImage: false, checkpointDir: '' };

/** Moves web to host 2, and says how that ended. */
async function move({ offers, outgoing, signal: ended }: MovingHost, fields: Partial<typeof wish> = {}) {
  const { id } = await offers.offer({ ...wish, ...fields }, ended);
  await offers.begin(id, ended);
  await outgoing.run(id, ended);
  return outgoing.progress(id);
}

test('a container moves, and nothing is left of the move', async (t) => {
  const all = await movingHosts(t);
  const { one, two, dockers, world } = all;
  assert.ok(two);
  assert.deepEqual(await move(one), {
    steps: ['made on host h2', 'stopped here', 'runs on host h2', 'removed here'],
    end: 'moved',
  });
  assert.deepEqual([one.docker.containers.size, dockers[1].running, world.holder], [0, ['web'], 'host2']);
  await assertNothingLeft(all, one, two);
});

test('what stays here does so under another name', async (t) => {
  const { one } = await movingHosts(t);
  assert.equal((await move(one, { keep: true }))?.end, 'moved');
  assert.deepEqual((await one.docker.describe('web-moved'))?.running, false);
});

test('an offer touches nothing, and can be taken back', async (t) => {
  const all = await movingHosts(t);
  const { one, two, dockers } = all;
  assert.ok(two);
  const { id, lines } = await one.offers.offer(wish, signal);
  assert.match(lines[0] ?? '', /container web \(web, image shop:1\) to host h2:/);
  await one.offers.cancel(id, signal);
  await assertNothingLeft(all, one, two);
  assert.deepEqual([dockers[0].done, dockers[1].done], [[], []]);
  await assert.rejects(one.offers.begin(id, signal), /is too old/);
});

test('the other host says why it can’t take a container', async (t) => {
  const { one, dockers } = await movingHosts(t);
  const refused = (expected: RegExp) => assert.rejects(one.offers.offer(wish, signal), expected);
  dockers[1].imageId = 'sha256:cd';
  await refused(/image shop:1 is another one on host h2.*--any-image/);
  dockers[1].imageId = undefined;
  await refused(/image shop:1 is not on host h2/);
  dockers[1].imageId = 'sha256:ab';
  dockers[1].ports = [{ ip: '192.0.2.1', port: 8080, protocol: 'tcp', container: 'other' }];
  await refused(/port 8080\/tcp of host h2 is that of container other/);
  dockers[1].ports = [{ ip: '0.0.0.0', port: 8080, protocol: 'udp', container: 'other' }];
  dockers[1].containers.set('x', { ...WEB, id: 'x' });
  await refused(/there is a container web on host h2 already/);
  const { one: other } = await movingHosts(t, { accepts: false });
  await assert.rejects(other.offers.offer(wish, signal), /without --accept-moves/);
  const { one: lonely } = await movingHosts(t, { isDead: true });
  await assert.rejects(lonely.offers.offer(wish, signal), /host h2 gave no answer/);
});

for (const call of ['create', 'start']) {
  test(`a container that the other host can’t ${call} is where it was`, async (t) => {
    const all = await movingHosts(t);
    const { one, two, dockers, world } = all;
    assert.ok(two);
    dockers[1].instead.set(call, async () => {
      throw new WeftError('docker-refused', 'no room');
    });
    const progress = await move(one);
    assert.equal(progress?.end, 'undone');
    assert.match(progress.steps.at(-1) ?? '', /not moved: no room/);
    assert.deepEqual([one.docker.running, world.holder], [['web'], 'host1']);
    assert.equal(dockers[1].containers.size, 0);
    await assertNothingLeft(all, one, two);
  });
}

test('one whose process ends at once on the other host is where it was', async (t) => {
  const { one, dockers, world } = await movingHosts(t);
  dockers[1].exitCode = 3;
  const progress = await move(one);
  assert.match(
    progress?.steps.at(-1) ?? '',
    /did not stay up on host h2: its process ended with exit code 3/,
  );
  assert.deepEqual([one.docker.running, world.holder], [['web'], 'host1']);
});

test('a host that ends when the container has stopped, and comes back', async (t) => {
  const all = await movingHosts(t);
  const { one, two, dockers, world, daemon } = all;
  assert.ok(two);
  dockers[0].instead.set('stop', () => two.stop());
  const progress = await move(one);
  assert.match(progress?.steps.at(-1) ?? '', /not moved: host h2 did not go on/);
  assert.deepEqual([one.docker.running, world.holder], [['web'], 'host1']);
  assert.equal(dockers[1].containers.size, 1);
  const again = await daemon(2);
  await assertNothingLeft(all, one, again);
  assert.equal(dockers[1].containers.size, 0);
});

test('a host that is late finds its step taken back', async (t) => {
  const all = await movingHosts(t);
  const { one, two, dockers, world } = all;
  assert.ok(two);
  const held = Promise.withResolvers<void>();
  dockers[1].instead.set('start', () => held.promise);
  const { id } = await one.offers.offer(wish, signal);
  await one.offers.begin(id, signal);
  const running = one.outgoing.run(id, one.signal);
  await until(() => one.ledger.get(id)?.state === 'taken-back', { what: 'taking back' });
  dockers[1].instead.clear();
  held.resolve();
  await running;
  await until(() => dockers[1].containers.size === 0, { what: 'removal on host 2' });
  await until(() => world.holder === 'host1', { what: 'the container on host 1' });
  assert.deepEqual(one.docker.running, ['web']);
  await assertNothingLeft(all, one, two);
});

for (const call of ['stop', 'remove']) {
  test(`a daemon that ends while it does ${call} is followed by one that goes on`, async (t) => {
    const all = await movingHosts(t);
    const { one, two, dockers, world, daemon } = all;
    assert.ok(two);
    const reached = Promise.withResolvers<void>();
    dockers[0].instead.set(call, async () => {
      reached.resolve();
      await new Promise<void>(() => {});
    });
    const { id } = await one.offers.offer(wish, signal);
    await one.offers.begin(id, signal);
    one.outgoing.run(id, one.signal).catch(() => {});
    await reached.promise;
    await one.stop();
    dockers[0].instead.clear();
    const again = await daemon(1);
    await again.resumed;
    assert.deepEqual([dockers[0].containers.size, dockers[1].running, world.holder], [0, ['web'], 'host2']);
    await assertNothingLeft(all, again, two);
  });
}

test('a record that is lost leaves the container on one host', async (t) => {
  for (const lostAt of ['stop', 'start']) {
    const all = await movingHosts(t);
    const { one, two, dockers, folders } = all;
    assert.ok(two);
    const lose = async (): Promise<void> => {
      const [record] = await records(folders);
      assert.ok(record);
      await folders.folder('tenants/moves').remove(record, signal);
    };
    dockers[lostAt === 'stop' ? 0 : 1].instead.set(lostAt, lose);
    await move(one);
    await until(() => [...dockers[0].running, ...dockers[1].running].length === 1, { what: 'one that runs' });
    await assertNothingLeft(all, one, two);
    assert.equal([...dockers[0].running, ...dockers[1].running].length, 1, lostAt);
  }
});

test('a move that only the registry knows stops nothing here', async (t) => {
  const { one, two, folders } = await movingHosts(t);
  assert.ok(two);
  const { id } = await one.offers.offer(wish, signal);
  const [record] = await records(folders);
  assert.ok(record);
  for (const state of ['created', 'running', 'taken-back']) {
    const text = record.value.replace('"accepted"', `"${state}"`);
    const forged = { ...JSON.parse(text), from: 'host2', to: 'host1' };
    await folders.folder('tenants/moves').create(`${id}-${state}`, JSON.stringify(forged), 60, signal);
    await folders.folder('tenants/moves').create(`${id}-${state}-b`, text, 60, signal);
  }
  await until(async () => (await records(folders)).length < 7, { what: 'that host 1 saw it' });
  assert.deepEqual([one.docker.done, one.docker.running], [[], ['web']]);
});

const FROZEN = { checkpointDir: '/shared' };

test('processes are frozen here and restored there, and their files are gone afterwards', async (t) => {
  const { one, dockers, disk, world } = await movingHosts(t);
  const progress = await move(one, FROZEN);
  assert.deepEqual(progress?.steps, ['made on host h2', 'frozen here', 'runs on host h2', 'removed here']);
  assert.deepEqual(
    [dockers[0].done, dockers[1].done],
    [
      ['freeze', 'remove'],
      ['create', 'restore'],
    ],
  );
  assert.deepEqual([world.holder, [...disk]], ['host2', []]);
});

test('processes that the other host can’t restore are restored here, or start again', async (t) => {
  const refuse = async (): Promise<void> => {
    throw new WeftError('docker-refused', 'criu failed');
  };
  for (const isIll of [false, true]) {
    const { one, dockers, disk, world } = await movingHosts(t);
    dockers[1].instead.set('restore', refuse);
    if (isIll) dockers[0].instead.set('restore', refuse);
    const progress = await move(one, FROZEN);
    assert.match(progress?.steps.at(-1) ?? '', /not moved: criu failed/);
    assert.equal(progress?.steps.at(-2), isIll ? 'started here again' : 'restored here');
    assert.deepEqual([one.docker.running, world.holder, [...disk]], [['web'], 'host1', []]);
  }
});

test('processes that can’t be frozen run on', async (t) => {
  const all = await movingHosts(t);
  const { one, two, dockers, disk } = all;
  assert.ok(two);
  dockers[0].instead.set('freeze', async () => {
    throw new WeftError('docker-refused', 'criu failed');
  });
  assert.match((await move(one, FROZEN))?.steps.at(-1) ?? '', /not moved: criu failed/);
  assert.deepEqual([one.docker.running, one.docker.done, [...disk]], [['web'], ['freeze'], []]);
  await assertNothingLeft(all, one, two);
});

test('a folder that the other host does not see is refused', async (t) => {
  const { one, dockers } = await movingHosts(t);
  const { prepare } = Checkpoints.prototype;
  t.mock.method(Checkpoints.prototype, 'prepare', async function (this: Checkpoints, folder: string) {
    await prepare.call(this, `${folder}-elsewhere`);
  });
  await assert.rejects(
    one.offers.offer({ ...wish, ...FROZEN }, signal),
    /can't be restored on host h2: \/shared\/weft-\S+ is not there/,
  );
  assert.deepEqual(dockers[0].done, []);
});
