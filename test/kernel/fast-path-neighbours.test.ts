import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clsactRequest, filterRequest } from '#src/kernel/bpf/tc-filters.ts';
import { RtnetlinkClient } from '#src/kernel/rtnetlink-client.ts';
import type { FormName } from '#src/reconcile/fast-path/hooks.ts';
import { HOOK_DIRECTION } from '#src/state/kinds/fast-hook.ts';
import { Bpf } from '#src/sys/bpf.ts';
import { NETLINK_ROUTE, systemNetlink } from '#src/sys/netlink-socket.ts';
import { until } from '#src/sys/until.ts';
import { bpfForms } from '../support/bpf-forms.ts';
import {
  datagram,
  type FastHost,
  fastPathHosts,
  LONG_MS,
  runFastPath,
  SET,
  scratchBpffs,
  textsIn,
  wantedOf,
  wishOf,
} from '../support/fast-path-hosts.ts';

/*
 * Other users of tc on the devices of a fast path, there before it and come after it: all programs run, and each goes with its own
 * owner. The hosts are drawn in test/support/fast-path-hosts.ts. h1 has a fast path, and h2 is plain.
 */
const forms = await bpfForms('bridge', 'tc');
const BPF_MAP_TYPE_ARRAY = 2;
const SHAPE = { type: BPF_MAP_TYPE_ARRAY, keySize: 4, valueSize: 8, maxEntries: 1, flags: 0 };
/** Where ours are, with the direction. */
const PLACES = [
  ['eth0', HOOK_DIRECTION['from-wire']],
  [SET, HOOK_DIRECTION['note-out']],
  ['vc', HOOK_DIRECTION['from-container']],
] as const;
type Place = (typeof PLACES)[number];
const FAST = 5;
/**
 * Of {@link FAST} packets in each direction, how many each neighbour sees, in the order of {@link PLACES}: with tcx a filter and a link for
 * each place. Nobody sees fast packets on the VXLAN device. On the underlay filters come behind links, and a link behind the earlier ones.
 */
const SEEN: Readonly<Record<FormName, Record<'early' | 'late', readonly number[]>>> = {
  tcx: { early: [0, FAST, 0, 0, FAST, FAST], late: [0, 0, 0, 0, FAST, FAST] },
  clsact: { early: [FAST, 0, FAST], late: [FAST, 0, FAST] },
};

/** A program that counts packets in a map and lets the next one go on: `lock *(u64 *)lookup(map, 0) += 1; return TC_ACT_UNSPEC`. */
function counter(map: number): Uint8Array {
  const code = Buffer.alloc(13 * 8);
  const put = (at: number, op: number, registers: number, offset: number, immediate: number) => {
    code.writeUInt8(op, at * 8);
    code.writeUInt8(registers, at * 8 + 1);
    code.writeInt16LE(offset, at * 8 + 2);
    code.writeInt32LE(immediate, at * 8 + 4);
  };
  put(0, 0x62, 0x0a, -4, 0); // *(u32 *)(r10 - 4) = 0
  put(1, 0xbf, 0xa2, 0, 0); // r2 = r10
  put(2, 0x07, 0x02, 0, -4); // r2 += -4
  put(3, 0x18, 0x11, 0, map); // r1 = map
  put(4, 0x00, 0x00, 0, 0);
  put(5, 0x85, 0x00, 0, 1); // r0 = lookup(r1, r2)
  put(6, 0x15, 0x00, 2, 0); // if (r0 == 0) skip two
  put(7, 0xb7, 0x01, 0, 1); // r1 = 1
  put(8, 0xdb, 0x10, 0, 0); // lock *(u64 *)r0 += r1
  put(9, 0xb7, 0x00, 0, -1); // r0 = -1
  put(10, 0x95, 0x00, 0, 0); // exit
  return code.subarray(0, 11 * 8);
}

interface Neighbour {
  /** Packets that its program has seen. */
  count(): number;
  /** Whether it is where it was put. */
  isThere(): boolean;
}

/** A counting program, and how to read it. */
function countingProgram(bpf: Bpf): { readonly program: number; readonly count: () => number } {
  const map = bpf.createMap('neighbour', SHAPE);
  const key = new Uint8Array(4);
  return {
    program: bpf.loadClassifier('neighbour', counter(map), 'GPL'),
    count: () => Number(new DataView(bpf.lookup(map, key, 8)?.buffer ?? assert.fail()).getBigUint64(0, true)),
  };
}

/** A tcx link of another program, which its owner holds. */
function tcxNeighbour(bpf: Bpf, host: FastHost, [device, direction]: Place): Neighbour {
  const { program, count } = countingProgram(bpf);
  const link = bpf.attachTcx(program, host.ifindex(device), direction);
  return { count, isThere: () => bpf.linkInfo(link).ifindex === host.ifindex(device) };
}

/** A filter of clsact. */
function filterNeighbour(
  { bpf, client }: { readonly bpf: Bpf; readonly client: RtnetlinkClient },
  host: FastHost,
  [device, direction]: Place,
  priority: number,
): Neighbour {
  const { program, count } = countingProgram(bpf);
  const ifindex = host.ifindex(device);
  const [found] = client.send(client.prepare([clsactRequest(ifindex)]));
  assert.ok(found === undefined || found.errno === 'EEXIST');
  const filter = { ifindex, direction, priority, handle: 0, name: `neighbour-${priority}` };
  assert.deepEqual(client.send(client.prepare([filterRequest(filter, program)])), [undefined]);
  return {
    count,
    isThere: () => host.run(`tc filter show dev ${device} ${direction}`).includes(`neighbour-${priority} `),
  };
}

for (const [form, lack] of forms) {
  test(`${form}: programs of others before and behind ours run, and stay when ours go`, {
    skip: lack,
  }, async (t) => {
    const bpffs = scratchBpffs(t);
    const [h1, h2] = fastPathHosts(t);
    const bpf = await Bpf.open(h1.path);
    // No answer that nobody listens there: the containers send what the test sends.
    h1.inContainer('ip route add blackhole 10.244.2.0/24');
    h2.inContainer('ip route add blackhole 10.244.1.0/24');
    const socket = await systemNetlink.open({ protocol: NETLINK_ROUTE, namespace: h1.path });
    const client = new RtnetlinkClient(socket);
    t.after(() => client.close());
    const add = (priority: number): Neighbour[] =>
      PLACES.flatMap((place) => [
        filterNeighbour({ bpf, client }, h1, place, priority),
        ...(form === 'tcx' ? [tcxNeighbour(bpf, h1, place)] : []),
      ]);
    const early = add(7);
    const wanted = wantedOf({ ...wishOf(h1, h2), freshMs: LONG_MS });
    const fast = await runFastPath(t, h1, wanted, { form, bpffs });
    // Between what was there and ours.
    const late = add(8);
    const all = [...early, ...late];
    const [there, back] = [
      { sender: await h1.frames(t), receiver: await h2.frames(t), from: h1, to: h2 },
      { sender: await h2.frames(t), receiver: await h1.frames(t), from: h2, to: h1 },
    ];
    const exchange = async (text: string): Promise<void> => {
      for (const { sender, receiver, from, to } of [there, back]) {
        sender.send(datagram(from, to, text));
        await until(() => textsIn(receiver.take()).includes(text), { what: text });
      }
    };
    await exchange('slow');
    const before = all.map((one) => one.count());
    for (let n = 0; n < FAST; n++) await exchange(`fast ${n}`);
    assert.deepEqual([fast.counts().encapsulated, fast.counts().decapsulated], [FAST, FAST]);
    const seen = all.map((one, index) => one.count() - (before[index] ?? 0));
    assert.deepEqual(seen, [...SEEN[form].early, ...SEEN[form].late]);
    assert.ok(all.every((one) => one.isThere()));
    assert.deepEqual(fast.owner.status.failing, []);

    await fast.set([]);
    assert.ok(all.every((one) => one.isThere()));
    const after = all.map((one) => one.count());
    await exchange('slow again');
    for (const [index, one] of all.entries())
      assert.ok(one.count() > (after[index] ?? 0), `neighbour ${index}`);
  });
}
