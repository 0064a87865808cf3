import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { silentLogger } from '#src/lib/log.ts';
import { TenantNamespace } from '#src/node/tenant-namespace.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';
import type { HeldNamespace } from '#src/sys/network-namespaces.ts';

interface Host {
  readonly log: string[];
  readonly clock: FakeClock;
  named: HeldNamespace['named'];
  isThere: boolean;
  refusal: Error | undefined;
  readonly open: () => Promise<TenantNamespace>;
}

function makeHost(hasOwnMounts = false): Host {
  const log: string[] = [];
  const clock = new FakeClock();
  const held = {
    get named() {
      return host.named;
    },
    restoreName() {
      if (host.refusal !== undefined) throw host.refusal;
      host.named = 'this';
    },
    close() {},
  };
  const note = (line: string): void => void log.push(line);
  const host: Host = {
    log,
    clock,
    named: 'this',
    isThere: true,
    refusal: undefined,
    open: () =>
      TenantNamespace.open({
        namespaces: {
          ensure: async () => {
            host.isThere = true;
          },
          remove: async () => {},
          isThere: async () => host.isThere,
          hold: async () => held,
        },
        clock,
        log: { ...silentLogger, info: note, warning: note, error: note },
        hasOwnMounts,
      }),
  };
  return host;
}

/** What {@link TenantNamespace.follow} ended with, once it has. */
function follow(t: TestContext, namespace: TenantNamespace): { ended: unknown } {
  const stop = new AbortController();
  t.after(() => stop.abort());
  const outcome: { ended: unknown } = { ended: undefined };
  namespace.follow(stop.signal).catch((error: unknown) => {
    outcome.ended = error;
  });
  return outcome;
}

test('a name that is taken away comes back', async (t) => {
  const host = makeHost();
  const namespace = await host.open();
  const outcome = follow(t, namespace);
  host.named = 'none';
  await host.clock.advance(1_000);
  assert.equal(host.named, 'this');
  assert.deepEqual(host.log, ['The network namespace weft had lost its name, and has it again']);
  assert.equal(namespace.trouble, undefined);
  assert.equal(outcome.ended, undefined);
});

test('one that can’t be given back is a trouble, logged once, until it is there', async (t) => {
  const host = makeHost();
  host.refusal = new Error('mount: EPERM');
  const namespace = await host.open();
  follow(t, namespace);
  host.named = 'none';
  await host.clock.advance(3_000);
  assert.equal(namespace.trouble, 'mount: EPERM');
  host.named = 'this';
  await host.clock.advance(1_000);
  assert.equal(namespace.trouble, undefined);
  assert.deepEqual(host.log, ['mount: EPERM', 'The network namespace weft has its name again']);
});

test('in a sandbox nothing is mounted, and a restart makes all again', async (t) => {
  const host = makeHost(true);
  const namespace = await host.open();
  follow(t, namespace);
  host.named = 'none';
  await host.clock.advance(3_000);
  assert.equal(host.named, 'none');
  assert.equal(host.log.length, 1);
  assert.match(host.log[0] ?? '', /has lost its name, and goes when flanneld ends; restart flanneld/);
  assert.equal(namespace.trouble, host.log[0]);
});

test('in a sandbox none is made', async () => {
  const host = makeHost(true);
  host.isThere = false;
  await assert.rejects(host.open(), { code: 'netns-hidden' });
  assert.equal(host.isThere, false);
});

test('another namespace of that name ends it: all has to be made there', async (t) => {
  const host = makeHost();
  const outcome = follow(t, await host.open());
  host.named = 'another';
  await host.clock.advance(1_000);
  assert.equal((outcome.ended as { code?: string }).code, 'netns-replaced');
});
