import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { MemoryKernel } from '#src/kernel/memory-kernel.ts';
import { silentLogger } from '#src/lib/log.ts';
import type { Owner } from '#src/reconcile/owner.ts';
import { Reconciler } from '#src/reconcile/reconciler.ts';
import { SysctlActuator } from '#src/reconcile/sysctl-actuator.ts';
import { type KernelObject, KINDS, keyOf } from '#src/state/object.ts';
import type { Scope } from '#src/state/scope.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';
import type { Files } from '#src/sys/files.ts';

const FORWARD = 'net/ipv4/ip_forward';
const DEVICE = 'net/ipv4/conf/blue/forwarding';
const sysctl = (path: string, value = '1'): KernelObject => ({ kind: 'sysctl', path, value });
const SCOPES: readonly Scope[] = [{ kinds: KINDS.names, filter: { device: 'blue' }, owns: () => false }];

/** Settings as the kernel has them: a device brings its own, and takes them along. */
class Settings {
  readonly values = new Map([[FORWARD, '0']]);
  refusal: string | undefined;
  reads = 0;
  readonly files: Pick<Files, 'read' | 'write'> = {
    read: async (path) => {
      this.reads++;
      const value = this.values.get(path.slice('/proc/sys/'.length));
      return value === undefined ? undefined : `${value}\n`;
    },
    write: async (path, text) => {
      const name = path.slice('/proc/sys/'.length);
      if (this.refusal !== undefined || !this.values.has(name)) {
        const code = this.refusal ?? 'ENOENT';
        throw Object.assign(new Error(`${code}: refused`), { code });
      }
      this.values.set(name, String(text));
    },
  };
}

async function host(t: TestContext) {
  const settings = new Settings();
  const kernel = new MemoryKernel();
  const clock = new FakeClock();
  const stopper = new AbortController();
  t.after(() => stopper.abort());
  const reconciler = new Reconciler(
    {
      actuators: [kernel, new SysctlActuator({ files: settings.files })],
      clock,
      log: silentLogger,
    },
    { fullCheckMs: 3_600_000, fullCheckShare: 1 },
  );
  await kernel.monitor((event) => {
    if (!('object' in event) || event.object.kind !== 'link') return;
    if (event.type === 'removed') settings.values.delete(DEVICE);
    else if (!settings.values.has(DEVICE)) settings.values.set(DEVICE, '0');
  }, stopper.signal);
  const owner: Owner = reconciler.own({ name: 'blue', scopes: () => SCOPES });
  owner.set('own', [{ kind: 'link', name: 'blue', up: true }, sysctl(FORWARD), sysctl(DEVICE)]);
  await reconciler.start(stopper.signal);
  return { settings, kernel, clock, reconciler, owner };
}

test('a start sets what is not as wanted, and counts no repair', async (t) => {
  const { settings, owner, reconciler } = await host(t);
  assert.deepEqual(Object.fromEntries(settings.values), { [FORWARD]: '1', [DEVICE]: '1' });
  assert.equal(owner.status.repairs, 0);
  assert.deepEqual(owner.status.failing, []);
  const views = [...reconciler.view()].filter(({ wanted }) => wanted?.kind === 'sysctl');
  assert.ok(views.every(({ wanted, found }) => wanted !== undefined && wanted === found));
});

test('where nothing can be written, a setting that is as wanted is no failure', async () => {
  const settings = new Settings();
  settings.values.set(DEVICE, '1');
  settings.refusal = 'EROFS';
  const actuator = new SysctlActuator({ files: settings.files });
  const results = await actuator.apply(
    [sysctl(FORWARD), sysctl(DEVICE)].map((object) => ({ verb: 'replace', object })),
  );
  assert.deepEqual(
    results.map(({ done }) => done),
    [false, true],
  );
});

test('a comparison reads each setting once, although the same was asked for', async (t) => {
  const { settings, kernel, owner, reconciler } = await host(t);
  settings.reads = 0;
  kernel.emit({ type: 'netconf', family: 4, device: 'all' });
  reconciler.check();
  await owner.settled();
  assert.equal(settings.reads, 2);
});

test('a change of one device’s settings reads those of that device, however many there are', async (t) => {
  const { settings, kernel, owner, reconciler } = await host(t);
  settings.reads = 0;
  settings.values.set(DEVICE, '0');
  kernel.emit({ type: 'netconf', family: 4, device: 'blue' });
  await reconciler.settled();
  assert.deepEqual([settings.reads, settings.values.get(DEVICE)], [1, '1']);
  kernel.emit({ type: 'netconf', family: 4, device: 'red' });
  await reconciler.settled();
  assert.equal(settings.reads, 1);
  owner.set('more', [sysctl('net/ipv4/conf/all/rp_filter')]);
  await reconciler.settled();
  assert.equal(settings.reads, 2, 'what is new is read alone');
});

test('a setting that another program changes is repaired after the kernel’s netconf event', async (t) => {
  const { settings, kernel, owner } = await host(t);
  settings.values.set(FORWARD, '0');
  kernel.emit({ type: 'netconf', family: 4, device: 'all' });
  await owner.settled();
  assert.equal(settings.values.get(FORWARD), '1');
  assert.equal(owner.status.repairs, 1);
});

test('a change that no event reports is found at the interval', async (t) => {
  const { settings, clock, owner } = await host(t);
  settings.values.set(FORWARD, '0');
  await clock.advance(10_000);
  await owner.settled();
  assert.equal(settings.values.get(FORWARD), '1');
});

test('a device that is made again gets its settings again', async (t) => {
  const { settings, kernel, owner } = await host(t);
  kernel.interfere({ verb: 'remove', object: { kind: 'link', name: 'blue' } });
  await owner.settled();
  assert.equal(settings.values.get(DEVICE), '1');
});

test('a setting that this kernel does not have is left alone', async (t) => {
  const { owner } = await host(t);
  owner.set('more', [sysctl('net/ipv6/conf/all/forwarding')]);
  await owner.settled();
  assert.deepEqual(owner.status.failing, []);
});

test('a refusal names the command, and goes when the setting can be written', async (t) => {
  const { settings, clock, kernel, owner } = await host(t);
  settings.refusal = 'EROFS';
  settings.values.set(FORWARD, '0');
  kernel.emit({ type: 'netconf', family: 4, device: 'all' });
  await owner.settled();
  const [failing] = owner.status.failing;
  assert.equal(failing?.key, keyOf(sysctl(FORWARD)));
  assert.match(
    failing?.reason ?? '',
    /EROFS: refused; run "sysctl -w net\/ipv4\/ip_forward=1" as root, .* \(EROFS\)$/,
  );
  settings.refusal = undefined;
  await clock.advance(30_000);
  await owner.settled();
  assert.deepEqual(owner.status.failing, []);
  assert.equal(settings.values.get(FORWARD), '1');
});

test('a setting of a device that can’t be made waits for the device', async (t) => {
  const { settings, clock, kernel, owner } = await host(t);
  kernel.refuseAlways = (command) => (command.startsWith('ip link add blue') ? 'ENOMEM' : undefined);
  kernel.interfere({ verb: 'remove', object: { kind: 'link', name: 'blue' } });
  await owner.settled();
  assert.deepEqual(
    owner.status.failing.map(({ key }) => key),
    ['link blue'],
  );
  kernel.refuseAlways = undefined;
  await clock.advance(1_000);
  await owner.settled();
  assert.equal(settings.values.get(DEVICE), '1');
  assert.deepEqual(owner.status.failing, []);
});

test('a plan names the settings, and sets none', async (t) => {
  const { settings, owner } = await host(t);
  settings.values.set(FORWARD, '0');
  assert.deepEqual(await owner.plan(), [{ verb: 'replace', object: sysctl(FORWARD) }]);
  assert.equal(settings.values.get(FORWARD), '0');
});
