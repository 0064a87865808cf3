import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import {
  encodeLocal,
  encodePeer,
  encodeSettings,
  type FastMap,
  LAYOUT,
  MAPS,
  type MapEntry,
  mapName,
} from '#src/fast-path/map-layouts.ts';
import type { BpfObject } from '#src/kernel/bpf/bpf-object.ts';
import { closeMaps } from '#src/reconcile/fast-path/fast-maps.ts';
import type { FormName } from '#src/reconcile/fast-path/hooks.ts';
import {
  closePrograms,
  type FastMaps,
  loadPrograms,
  PROGRAMS,
  readPrograms,
} from '#src/reconcile/fast-path/load-programs.ts';
import type { FastProgram, KernelObject } from '#src/state/object.ts';
import type { Bpf } from '#src/sys/bpf.ts';
import { systemClock } from '#src/sys/clock.ts';
import { until } from '#src/sys/until.ts';
import { bpfForms } from '../support/bpf-forms.ts';
import {
  besides,
  datagram,
  type FastHost,
  fastPathHosts,
  runFastPath,
  SET,
  scratchBpffs,
  textsIn,
  wantedOf,
  wishOf,
} from '../support/fast-path-hosts.ts';

/*
 * An upgrade under a stream: another weft's programs, on maps of another layout, are on the host's devices and carry it. The hosts are
 * drawn in test/support/fast-path-hosts.ts. h1 has a fast path, and h2 is plain.
 */
const forms = await bpfForms('bridge', 'tc');

/** A weft that differs from this one in what its programs and its maps look like. */
interface OtherWeft {
  readonly called: string;
  readonly object: (object: BpfObject) => BpfObject;
  readonly shapes: Readonly<Record<FastMap, (typeof MAPS)[FastMap]>>;
  readonly layout?: number;
}

/** `r0 = 0`, which changes nothing but the program's tag. */
const NOTHING = Uint8Array.of(0xb7, 0, 0, 0, 0, 0, 0, 0);
const withNothing = ({ programs, license }: BpfObject): BpfObject => ({
  license,
  programs: new Map(
    Array.from(programs, ([name, { code, relocations }]) => [
      name,
      {
        code: Buffer.concat([NOTHING, code]),
        relocations: relocations.map(({ offset, map }) => ({ offset: offset + NOTHING.length, map })),
      },
    ]),
  ),
});
const OTHERS: readonly OtherWeft[] = [
  { called: 'other programs on the same maps', object: withNothing, shapes: MAPS },
  {
    called: 'the same programs on maps with longer values',
    object: (object) => object,
    shapes: {
      ...MAPS,
      settings: { ...MAPS.settings, valueSize: MAPS.settings.valueSize + 8 },
      peers: { ...MAPS.peers, valueSize: MAPS.peers.valueSize + 4 },
    },
  },
  {
    called: 'maps of the same sizes with another meaning',
    object: (object) => object,
    shapes: MAPS,
    layout: LAYOUT + 1,
  },
  {
    called: 'other programs and smaller maps',
    object: withNothing,
    shapes: {
      ...MAPS,
      flows: { ...MAPS.flows, maxEntries: 1_024 },
      locals: { ...MAPS.locals, maxEntries: 64 },
    },
  },
];

const padded = ({ key, value }: MapEntry, size: number): MapEntry => {
  const longer = new Uint8Array(size);
  longer.set(value);
  return { key, value: longer };
};

/** Attaches another weft's programs with all that is wanted, as that one would have left them. */
function leave(
  host: FastHost,
  place: { readonly form: FormName; readonly bpffs: string },
  { object, shapes, layout }: OtherWeft,
  wanted: readonly KernelObject[],
): Promise<readonly number[]> {
  return besides(host, place, async ({ bpf, hooks }) => {
    const maps = Object.fromEntries(
      Object.entries(shapes).map(([name, shape]) => [
        name,
        bpf.createMap(mapName(name as FastMap, layout), shape),
      ]),
    ) as unknown as FastMaps;
    const programs = loadPrograms(bpf, object(await readPrograms()), maps);
    const set = (map: FastMap, entry: MapEntry) =>
      bpf.update(maps[map], padded(entry, shapes[map].valueSize));
    for (const one of wanted) {
      if (one.kind === 'fast-path')
        set('settings', encodeSettings(one, { underlay: host.ifindex('eth0'), tunnel: host.ifindex(SET) }));
      else if (one.kind === 'fast-peer') set('peers', encodePeer(one));
      else if (one.kind === 'fast-local') set('locals', encodeLocal(one, host.ifindex(one.device)));
    }
    for (const one of wanted) {
      if (one.kind !== 'fast-hook') continue;
      const { fd } = programs.get(one.program) ?? assert.fail(one.program);
      await hooks.attach({ ...one, ifindex: host.ifindex(one.device) }, fd);
    }
    const ids = [...programs.values()].map(({ info }) => info.id);
    closePrograms(bpf, programs);
    closeMaps(bpf, maps);
    return ids;
  });
}

/** For two hundred datagrams: a loaded machine has a turn for the sender every fifty milliseconds. */
const SLOW_MS = 60_000;

/** A datagram each millisecond, until `stop` says which did not arrive. */
async function stream(t: TestContext, from: FastHost, to: FastHost) {
  const [sender, receiver] = [await from.frames(t), await to.frames(t)];
  const arrived = new Set<string>();
  let sent = 0;
  let isOver = false;
  const take = () => {
    for (const text of textsIn(receiver.take())) arrived.add(text);
  };
  const running = (async () => {
    while (!isOver) {
      sender.send(datagram(from, to, `weft ${++sent}`));
      take();
      await systemClock.sleep(1);
    }
  })();
  return {
    sent: () => sent,
    arrived: () => arrived.size,
    async stop(): Promise<number> {
      isOver = true;
      await running;
      const isComplete = (): boolean => {
        take();
        return arrived.size === sent;
      };
      await until(isComplete, { what: 'all datagrams', timeoutMs: 10_000 }).catch(() => {});
      return sent - arrived.size;
    },
  };
}

for (const [form, lack] of forms) {
  for (const other of OTHERS) {
    test(`${form}: ${other.called} are replaced under a stream, and nothing of it is lost`, {
      skip: lack,
    }, async (t) => {
      const bpffs = scratchBpffs(t);
      const [h1, h2] = fastPathHosts(t);
      const wanted = wantedOf(wishOf(h1, h2));
      const ids = await leave(h1, { form, bpffs }, other, wanted);
      const flow = await stream(t, h1, h2);
      const of = (): string => `${flow.arrived()} of ${flow.sent()} arrived`;
      await until(() => flow.arrived() > 200, { what: 'stream', timeoutMs: SLOW_MS }).catch((error: Error) =>
        assert.fail(`${error.message}: ${of()}`),
      );
      const fast = await runFastPath(t, h1, wanted, { form, bpffs });
      assert.deepEqual(fast.owner.status.failing, []);
      assert.ok(fast.owner.stateOf('own').isDone);
      const before = fast.counts().encapsulated;
      await until(() => fast.counts().encapsulated > before + 200, {
        what: 'fast stream',
        timeoutMs: SLOW_MS,
      });
      assert.equal(await flow.stop(), 0, `of ${flow.sent()}`);
      const there = await besides(h1, { form, bpffs }, ({ hooks, names }) => hooks.list(names));
      const names = there.map(({ program }) => program).sort();
      assert.deepEqual(names, PROGRAMS.map(([program]): FastProgram => program).sort());
      assert.ok(there.every(({ programId }) => !ids.includes(programId)));
      await besides(h1, { form, bpffs }, async ({ bpf }) => {
        await until(() => ids.every((id) => isGone(bpf, id)), { what: 'end of the other weft’s programs' });
      });
    });
  }
}

function isGone(bpf: Bpf, programId: number): boolean {
  const fd = bpf.programById(programId);
  if (fd !== undefined) bpf.close(fd);
  return fd === undefined;
}
