import assert from 'node:assert/strict';
import { readdirSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { encodeLocal, encodePeer, type FastMap, MAPS, type MapEntry } from '#src/fast-path/map-layouts.ts';
import type { Mac } from '#src/lib/mac.ts';
import type { FormName } from '#src/reconcile/fast-path/hooks.ts';
import type { Bpf } from '#src/sys/bpf.ts';
import { systemClock } from '#src/sys/clock.ts';
import { until } from '#src/sys/until.ts';
import { bpfForms } from '../support/bpf-forms.ts';
import { untilCarrier } from '../support/carrier.ts';
import {
  besides,
  datagram,
  type FastHost,
  FRESH_MS,
  fastPathHosts,
  ip,
  LONG_MS,
  runFastPath,
  SET,
  scratchBpffs,
  textsIn,
  wantedOf,
  wireFrame,
  wishOf,
  withMap,
} from '../support/fast-path-hosts.ts';
import { cannotRun } from '../support/test-lab.ts';

/* The hosts are drawn in test/support/fast-path-hosts.ts. h1 has a fast path, and h2 has one or is plain. */

const forms = await bpfForms('bridge', 'tc');

/** Datagrams from one container to the other, one by one. */
async function flow(t: TestContext, from: FastHost, to: FastHost, more: Parameters<typeof datagram>[3] = {}) {
  const [sender, receiver] = [await from.frames(t), await to.frames(t)];
  let sent = 0;
  receiver.take();
  // The receiver's socket has what its own container sends, too.
  const { source = from.containerIp } = more;
  const take = () =>
    textsIn(receiver.take().filter((frame) => frame.length >= 30 && frame.readUInt32BE(26) === source));
  const sendOne = (): string => {
    const text = `weft ${++sent}`;
    sender.send(datagram(from, to, text, more));
    return text;
  };
  return {
    sendOne,
    take,
    /** Sends one and waits until it has arrived. */
    async send(): Promise<void> {
      const text = sendOne();
      await until(() => take().includes(text), { what: text });
    },
  };
}

async function oneFast(t: TestContext, form: FormName, freshMs = LONG_MS) {
  const bpffs = scratchBpffs(t);
  const [h1, h2] = fastPathHosts(t);
  const wish = { ...wishOf(h1, h2), freshMs };
  const fast = await runFastPath(t, h1, wantedOf(wish), { form, bpffs });
  assert.deepEqual(fast.owner.status.failing, []);
  return { bpffs, h1, h2, wish, fast };
}

/** What is attached and pinned, by the kernel's and the file system's own word. */
function traces(host: FastHost, bpffs: string): string[] {
  const filters = ['eth0', SET, 'vc'].flatMap((device) =>
    ['ingress', 'egress'].map((direction) => host.run(`tc filter show dev ${device} ${direction}`).trim()),
  );
  return [...filters.filter((text) => text !== ''), ...readdirSync(bpffs).filter((name) => name === 'weft')];
}

const pinsOf = (bpffs: string): string[] =>
  readdirSync(bpffs, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.includes('@'))
    .map((name) => join(bpffs, name));

for (const [form, lack] of forms) {
  test(`${form}: the first packet of a flow goes slow, the next ones fast, in both directions`, {
    skip: lack,
  }, async (t) => {
    const { bpffs, h1, h2, fast } = await oneFast(t, form);
    const other = await runFastPath(t, h2, wantedOf({ ...wishOf(h2, h1), freshMs: LONG_MS }), {
      form,
      bpffs,
    });
    assert.equal(fast.actuator.form, form);
    const [there, back] = [await flow(t, h1, h2), await flow(t, h2, h1)];
    await there.send();
    assert.deepEqual([fast.counts().encapsulated, fast.counts().noted], [0, 1]);
    assert.deepEqual([other.counts().decapsulated, other.counts().noted], [0, 1]);
    await there.send();
    await there.send();
    assert.equal(fast.counts().encapsulated, 2);
    assert.equal(other.counts().decapsulated, 2);
    await back.send();
    await back.send();
    assert.equal(other.counts().encapsulated, 1);
    assert.equal(fast.counts().decapsulated, 1);
    assert.deepEqual([fast.counts().failed, other.counts().failed], [0, 0]);
  });

  test(`${form}: a plain peer understands, and is understood; the wire is flannel’s`, {
    skip: lack,
  }, async (t) => {
    const { h1, h2, fast } = await oneFast(t, form);
    const [there, back] = [await flow(t, h1, h2), await flow(t, h2, h1)];
    const wire = await h2.underlay(t);
    await there.send();
    await back.send();
    const [slow] = wire
      .take()
      .filter((frame) => frame.includes('weft 1') && frame.readUInt32BE(26) === h1.vtep);
    await there.send();
    await back.send();
    const [fastFrame] = wire
      .take()
      .filter((frame) => frame.includes('weft 2') && frame.readUInt32BE(26) === h1.vtep);
    assert.deepEqual([fast.counts().encapsulated, fast.counts().decapsulated], [1, 1]);
    assert.ok(slow !== undefined && fastFrame !== undefined);
    // Identification, checksums, the source port and what was said may differ, and nothing else.
    const plain = (frame: Buffer) => {
      for (const [start, end] of [
        [18, 20],
        [24, 26],
        [34, 36],
        [40, 42],
        [68, 70],
        [74, 76],
      ] as const)
        frame.fill(0, start, end);
      return frame.subarray(0, -1).toString('hex');
    };
    assert.equal(plain(fastFrame), plain(slow));
  });

  test(`${form}: drift is repaired`, { skip: lack }, async (t) => {
    const { bpffs, h1, h2, wish, fast } = await oneFast(t, form);
    /** Breaks it; then waits until it is right by what the kernel has, and counted. */
    const repaired = async (
      what: string,
      destroy: () => unknown,
      isRight: () => boolean | Promise<boolean>,
    ): Promise<void> => {
      const before = fast.owner.status.repairs;
      await destroy();
      await until(async () => (await isRight()) && fast.owner.status.repairs > before, {
        what: `repair of ${what}`,
      });
      await fast.owner.settled();
      assert.ok(fast.owner.stateOf('own').isDone, what);
      assert.ok(await isRight(), what);
    };
    const has = (map: FastMap, { key, value }: MapEntry) =>
      withMap(h1, { form, bpffs }, map, (bpf, fd) => {
        const found = bpf.lookup(fd, key, value.length);
        return found !== undefined && Buffer.compare(found, value) === 0;
      });
    const put = (map: FastMap, entry: MapEntry) =>
      withMap(h1, { form, bpffs }, map, (bpf, fd) => bpf.update(fd, entry));
    const remove = () => {
      if (form === 'tcx')
        for (const pin of pinsOf(bpffs).filter((path) => path.includes('from-wire'))) unlinkSync(pin);
      else h1.run('tc filter del dev eth0 ingress');
    };
    const hooks = () => traces(h1, bpffs).length + pinsOf(bpffs).length;
    const all = hooks();
    const removeOne = () => {
      remove();
      assert.ok(hooks() < all);
    };
    await repaired('a hook that was removed', removeOne, () => hooks() === all);

    const [peer] = wantedOf(wish).filter((object) => object.kind === 'fast-peer');
    const [local] = wantedOf(wish).filter((object) => object.kind === 'fast-local');
    assert.ok(peer !== undefined && local !== undefined);
    const right = encodePeer(peer);
    const removePeer = () => withMap(h1, { form, bpffs }, 'peers', (bpf, fd) => bpf.delete(fd, right.key));
    await repaired('a peer that was removed', removePeer, () => has('peers', right));
    const elsewhere = encodePeer({ ...peer, vtep: ip('192.168.77.66') });
    await repaired(
      'a peer with another VTEP',
      () => put('peers', elsewhere),
      () => has('peers', right),
    );
    const [end, otherEnd] = ['vc', 'docker0'].map((device) => encodeLocal(local, h1.ifindex(device)));
    assert.ok(end !== undefined && otherEnd !== undefined);
    await repaired(
      'a container on another device',
      () => put('locals', otherEnd),
      () => has('locals', end),
    );
    const stranger = encodeLocal({ ...local, ip: ip('10.244.1.77') }, 1);
    await put('locals', stranger);
    await until(async () => !(await has('locals', stranger)), {
      what: 'removal of a container that nobody wants',
    });
    const empty = { key: new Uint8Array(4), value: new Uint8Array(MAPS.settings.valueSize) };
    await repaired(
      'settings that were emptied',
      () => put('settings', empty),
      async () => !(await has('settings', empty)),
    );

    // All of it works.
    const there = await flow(t, h1, h2);
    await there.send();
    await there.send();
    assert.equal(fast.counts().encapsulated, 1);
  });

  test(`${form}: a restart takes over what is there, and no packet is lost`, { skip: lack }, async (t) => {
    const { bpffs, h1, h2, wish, fast } = await oneFast(t, form);
    const programs = () =>
      besides(h1, { form, bpffs }, async ({ hooks, names }) =>
        (await hooks.list(names)).map(({ program, programId }) => `${program} ${programId}`).sort(),
      );
    const there = await flow(t, h1, h2);
    await there.send();
    const before = await programs();
    assert.equal(before.length, 4);
    await fast.stop();
    // Nobody is there, and the flow goes on fast.
    await there.send();
    const again = await runFastPath(t, h1, wantedOf(wish), { form, bpffs });
    assert.ok(again.owner.stateOf('own').isDone);
    assert.equal(again.owner.status.repairs, 0);
    assert.deepEqual(await programs(), before);
    const { encapsulated, noted } = again.counts();
    assert.deepEqual([encapsulated, noted], [1, 1]);
    await there.send();
    assert.equal(again.counts().encapsulated, 2);
  });

  test(`${form}: another weft’s programs are replaced, and so are maps of another layout`, {
    skip: lack,
  }, async (t) => {
    const { bpffs, h1, h2, wish, fast } = await oneFast(t, form);
    await fast.stop();
    await besides(h1, { form, bpffs }, async ({ bpf, hooks }) => {
      // A program without our maps, in the place of ours.
      const older = bpf.loadClassifier('weft_older', LEAVE_ALONE, 'GPL');
      const place = { set: SET, device: SET, ifindex: h1.ifindex(SET), program: 'note-out' as const };
      await hooks.attach(place, older);
      bpf.close(older);
    });
    const again = await runFastPath(t, h1, wantedOf(wish), { form, bpffs });
    assert.ok(again.owner.stateOf('own').isDone);
    const there = await flow(t, h1, h2);
    await there.send();
    await there.send();
    assert.equal(again.counts().encapsulated, 1);
  });

  test(`${form}: nothing is left when nothing is wanted; the clsact qdisc stays`, {
    skip: lack,
  }, async (t) => {
    const { bpffs, h1, fast } = await oneFast(t, form);
    const ids = await besides(h1, { form, bpffs }, async ({ bpf, hooks, names }) => {
      const found = await hooks.list(names);
      assert.equal(found.length, 4);
      return found.map(({ programId }) => ({ bpf, programId }));
    });
    assert.notDeepEqual(traces(h1, bpffs), []);
    await fast.set([]);
    assert.deepEqual(traces(h1, bpffs), []);
    assert.equal(fast.actuator.counts(SET), undefined);
    // The kernel frees programs a little later.
    await until(() => ids.every(({ bpf, programId }) => isGone(bpf, programId)), {
      what: 'end of the programs',
    });
    if (form === 'clsact') assert.match(h1.run('tc qdisc show dev eth0'), /clsact/);
  });

  test(`${form}: a flow that goes on sends one packet through the rules now and then, and the others stay fast`, {
    skip: lack,
  }, async (t) => {
    const { h1, h2, fast } = await oneFast(t, form, FRESH_MS);
    const there = await flow(t, h1, h2);
    const began = systemClock.monotonic();
    await there.send();
    await until(
      async () => {
        await there.send();
        return fast.counts().noted === 4;
      },
      { what: 'fourth look', intervalMs: 1, timeoutMs: 20_000 },
    );
    const { noted, notFreshOut, encapsulated } = fast.counts();
    // Each of them was one packet, unless the sender paused for longer than the time: then the next one is one, too.
    assert.equal(notFreshOut, noted);
    assert.ok(encapsulated > notFreshOut);
    // Half of the time, three times.
    assert.ok(systemClock.monotonic() - began >= 1.4 * FRESH_MS);
  });

  test(`${form}: a user’s drop ends a running flow within the time`, {
    skip: lack || cannotRun('iptables'),
  }, async (t) => {
    const { h1, h2, fast } = await oneFast(t, form, FRESH_MS);
    const there = await flow(t, h1, h2);
    await there.send();
    await there.send();
    h1.run('iptables -I FORWARD -s 10.244.1.2 -j DROP');
    const began = systemClock.monotonic();
    /** Sends one, and waits until the program has it; whether it went fast. */
    const goesFast = async (): Promise<boolean> => {
      const before = fast.counts();
      there.sendOne();
      const isFast = (): boolean => fast.counts().encapsulated > before.encapsulated;
      await until(() => isFast() || fast.counts().notFreshOut > before.notFreshOut, {
        what: 'packet in the program',
        intervalMs: 1,
      });
      return isFast();
    };
    let [slow, lastFastAt] = [0, began];
    await until(
      async () => {
        // The kernel decides afterwards: a pause of this process makes no packet late.
        const at = systemClock.monotonic();
        const isFast = await goesFast();
        if (isFast) lastFastAt = at;
        slow = isFast ? 0 : slow + 1;
        // The first that is slow went through the rules for the others.
        return slow === 3;
      },
      { what: 'end of the flow', intervalMs: 10 },
    );
    assert.ok(lastFastAt - began <= FRESH_MS, `the last fast one ${lastFastAt - began} ms after the rule`);
    there.take();
    for (let n = 0; n < 3; n++) assert.equal(await goesFast(), false, 'and it stays slow');
    assert.deepEqual(there.take(), []);
  });

  test(`${form}: a changed generation and the kill switch hold for the next packet`, {
    skip: lack,
  }, async (t) => {
    const { h1, h2, wish, fast } = await oneFast(t, form);
    const there = await flow(t, h1, h2);
    await there.send();
    await there.send();
    await fast.set(wantedOf({ ...wish, generation: 1 }));
    await there.send();
    assert.equal(fast.counts().encapsulated, 1);
    await there.send();
    assert.equal(fast.counts().encapsulated, 2);
    await fast.set(wantedOf({ ...wish, generation: 1, freshMs: 0 }));
    const noted = fast.counts().noted;
    await there.send();
    await there.send();
    assert.deepEqual([fast.counts().encapsulated, fast.counts().noted], [2, noted]);
  });

  test(`${form}: a change of a peer or a container holds for the next packet`, { skip: lack }, async (t) => {
    const { h1, h2, wish, fast } = await oneFast(t, form);
    const [there, back] = [await flow(t, h1, h2), await flow(t, h2, h1)];
    for (const { send } of [there, there, back, back]) await send();
    const counts = () => [fast.counts().encapsulated, fast.counts().decapsulated];
    assert.deepEqual(counts(), [1, 1]);
    await fast.set(wantedOf({ ...wish, peers: [] }));
    for (const { send } of [there, back]) await send();
    assert.deepEqual(counts(), [1, 1]);
    await fast.set(wantedOf(wish));
    for (const { send } of [there, back]) await send();
    assert.deepEqual(counts(), [2, 2]);
    // Another container has the address: the frame is for that one.
    const mac = '02:42:0a:f4:01:99' as Mac;
    await fast.set(wantedOf({ ...wish, locals: wish.locals.map((local) => ({ ...local, mac })) }));
    const frames = await h1.frames(t);
    await back.send();
    const [frame] = frames.take().filter((bytes) => textsIn([bytes]).length > 0);
    assert.equal(frame?.toString('hex', 0, 6), mac.replaceAll(':', ''));
    await fast.set(wantedOf({ ...wish, locals: [] }));
    for (const { send } of [there, back]) await send();
    assert.deepEqual(counts(), [2, 3]);
  });

  test(`${form}: a changed route to the peer holds within the time`, { skip: lack }, async (t) => {
    const { h1, h2 } = await oneFast(t, form, FRESH_MS);
    const there = await flow(t, h1, h2);
    await there.send();
    const wire = await h2.underlay(t);
    /** The kernel writes a checksum into the outer UDP header. */
    const fastFrames = () =>
      wire.take().filter((frame) => frame.includes('weft ') && frame.readUInt16BE(40) === 0);
    const [before, after] = [h2.underlayMac.replaceAll(':', ''), '020000007703'];
    const macOf = (frame: Buffer | undefined) => frame?.toString('hex', 0, 6);
    await there.send();
    assert.equal(macOf(fastFrames()[0]), before);
    h1.run('ip neigh add 192.168.77.3 lladdr 02:00:00:00:77:03 dev eth0 nud permanent');
    h1.run('ip route add 192.168.77.2/32 via 192.168.77.3 dev eth0');
    const began = systemClock.monotonic();
    const sentAt = new Map<string, number>();
    let lastBefore = began;
    await until(
      () => {
        // The kernel decides afterwards: a pause of this process makes no packet late.
        const at = systemClock.monotonic();
        sentAt.set(there.sendOne(), at);
        const frames = fastFrames();
        for (const frame of frames.filter((it) => macOf(it) === before)) {
          const [text = ''] = /weft \d+$/.exec(frame.toString('latin1')) ?? [];
          lastBefore = Math.max(lastBefore, sentAt.get(text) ?? began);
        }
        return frames.some((frame) => macOf(frame) === after);
      },
      { what: 'packet by the new route' },
    );
    assert.ok(lastBefore - began <= FRESH_MS, `the old route ${lastBefore - began} ms after the change`);
  });

  test(`${form}: a host whose underlay does not forward has a fast path, too`, { skip: lack }, async (t) => {
    const { h1, h2, fast } = await oneFast(t, form);
    // The kernel gives programs no routes then.
    h1.run('sysctl -qw net.ipv4.conf.eth0.forwarding=0');
    const there = await flow(t, h1, h2);
    for (let n = 0; n < 3; n++) await there.send();
    assert.equal(fast.counts().encapsulated, 2);
  });

  test(`${form}: a wrong source, VNI or VTEP does not go fast`, { skip: lack }, async (t) => {
    const { h1, h2, fast } = await oneFast(t, form);
    const back = await flow(t, h2, h1);
    await back.send();
    await back.send();
    assert.equal(fast.counts().decapsulated, 1);
    const liar = await flow(t, h1, h2, { source: ip('10.244.1.66') });
    liar.sendOne();
    const [wire, receiver] = [await h2.underlay(t), await h1.frames(t)];
    for (const lie of [{ vni: 2 }, { vtep: ip('192.168.77.3') }, { mac: h2.mac }])
      wire.send(wireFrame(h2, h1, 'lie', lie));
    wire.send(wireFrame(h2, h1, 'truth'));
    await until(() => textsIn(receiver.take()).includes('truth'), { what: 'true packet' });
    const { decapsulated, wrongSourceIn, encapsulated } = fast.counts();
    assert.deepEqual([decapsulated, wrongSourceIn, encapsulated], [2, 1, 0]);
  });

  test(`${form}: a device that goes takes its hooks along, and one that comes has them`, {
    skip: lack,
  }, async (t) => {
    const { bpffs, h1, h2, fast } = await oneFast(t, form);
    const container = h1.container;
    h1.run('ip link del vc');
    h1.run(`ip link add vc mtu 1450 type veth peer name eth0 netns ${container}`);
    h1.run('ip link set vc master docker0 up');
    h1.inContainer(`ip link set eth0 address ${h1.containerMac} mtu 1450 up`);
    h1.inContainer('ip address add 10.244.1.2/24 dev eth0');
    h1.inContainer('ip route add default via 10.244.1.1');
    untilCarrier(h1.run, 'vc', 'docker0');
    await until(() => fast.owner.stateOf('own').isDone && fast.owner.status.repairs > 0, { what: 'hooks' });
    const found = await besides(h1, { form, bpffs }, ({ hooks, names }) => hooks.list(names));
    assert.deepEqual(
      found.filter(({ device }) => device === 'vc').map(({ ifindex }) => ifindex),
      [h1.ifindex('vc'), h1.ifindex('vc')],
    );
    const there = await flow(t, h1, h2);
    await there.send();
    await there.send();
    assert.equal(fast.counts().encapsulated, 1);
  });
}

/** `r0 = -1; exit` */
const LEAVE_ALONE = Uint8Array.of(0xb7, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x95, 0, 0, 0, 0, 0, 0, 0);

function isGone(bpf: Bpf, programId: number): boolean {
  const fd = bpf.programById(programId);
  if (fd !== undefined) bpf.close(fd);
  return fd === undefined;
}
