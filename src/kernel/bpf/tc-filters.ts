import { attributes, i32, struct, text, u8, u16, u32 } from '#src/kernel/attributes.ts';
import * as k from '#src/kernel/constants.ts';
import { type Message, MessageLayout, type Request } from '#src/kernel/message.ts';

export type Direction = 'ingress' | 'egress';

/** A BPF program as a filter of a device's clsact qdisc. */
export interface TcFilter {
  readonly ifindex: number;
  readonly direction: Direction;
  /** The place among filters: the lowest has the first word. */
  readonly priority: number;
  /** The kernel's number of the filter, unique at its place. */
  readonly handle: number;
  readonly name: string;
  /** The program's number. */
  readonly programId: number;
}

/** struct tcmsg */
const HEADER = struct({ family: u8, pad1: u8, pad2: u16, ifindex: i32, handle: u32, parent: u32, info: u32 });
const BPF_OPTIONS = attributes({
  fd: [k.TCA_BPF_FD, u32],
  name: [k.TCA_BPF_NAME, text],
  flags: [k.TCA_BPF_FLAGS, u32],
  id: [k.TCA_BPF_ID, u32],
});
const FILTER = new MessageLayout(
  HEADER,
  attributes({ kind: [k.TCA_KIND, text], options: [k.TCA_OPTIONS, BPF_OPTIONS] }),
);
/** Options of other kinds of qdisc are not read. */
const QDISC = new MessageLayout(HEADER, attributes({ kind: [k.TCA_KIND, text] }));

const PARENTS: Readonly<Record<Direction, number>> = {
  ingress: k.TC_H_CLSACT_INGRESS,
  egress: k.TC_H_CLSACT_EGRESS,
};

/** `tc qdisc add dev DEVICE clsact`; EEXIST where there is one. */
export const clsactRequest = (ifindex: number): Request =>
  QDISC.request(
    k.RTM_NEWQDISC,
    k.NLM_F_CREATE | k.NLM_F_EXCL,
    { ifindex, handle: k.CLSACT_HANDLE, parent: k.TC_H_CLSACT },
    { kind: 'clsact' },
  );

/** `tc qdisc show` */
export const qdiscDump = (): Request => QDISC.request(k.RTM_GETQDISC, k.NLM_F_DUMP, {}, {});

/** The device that has a clsact qdisc, by ifindex; `undefined` for a qdisc of another kind. */
export function readClsact(message: Message): number | undefined {
  const read = message.type === k.RTM_NEWQDISC ? QDISC.read(message) : undefined;
  return read?.values.kind === 'clsact' ? read.header.ifindex : undefined;
}

/** `tc filter show dev DEVICE ingress` */
export const filterDump = (ifindex: number, direction: Direction): Request =>
  QDISC.request(k.RTM_GETTFILTER, k.NLM_F_DUMP, { ifindex, parent: PARENTS[direction] }, {});

/** A BPF filter; `undefined` for other kinds, and for the line that the kernel has for each priority. */
export function readFilter(message: Message): TcFilter | undefined {
  const read = message.type === k.RTM_NEWTFILTER ? FILTER.read(message) : undefined;
  if (read?.values.kind !== 'bpf') return undefined;
  const { ifindex = 0, handle = 0, parent, info = 0 } = read.header;
  const { name, id } = read.values.options ?? {};
  if (name === undefined || id === undefined) return undefined;
  const direction = parent === PARENTS.ingress ? 'ingress' : 'egress';
  return { ifindex, direction, priority: info >>> 16, handle, name, programId: id };
}

const infoOf = (priority: number): number => ((priority << 16) | k.ETH_P_ALL_WIRE) >>> 0;

/**
 * `tc filter replace dev DEVICE ingress prio PRIORITY bpf direct-action …`. With a handle the program of that filter is replaced between
 * two packets; with 0 a new filter gets a handle from the kernel.
 */
export const filterRequest = (
  { ifindex, direction, priority, handle, name }: Omit<TcFilter, 'programId'>,
  program: number,
): Request =>
  FILTER.request(
    k.RTM_NEWTFILTER,
    k.NLM_F_CREATE | (handle === 0 ? k.NLM_F_EXCL : k.NLM_F_REPLACE),
    { ifindex, handle, parent: PARENTS[direction], info: infoOf(priority) },
    { kind: 'bpf', options: { fd: program, name, flags: k.TCA_BPF_FLAG_ACT_DIRECT } },
  );

/** `tc filter del dev DEVICE ingress prio PRIORITY handle HANDLE bpf` */
export const filterRemoval = ({ ifindex, direction, priority, handle }: TcFilter): Request =>
  FILTER.request(
    k.RTM_DELTFILTER,
    0,
    { ifindex, handle, parent: PARENTS[direction], info: infoOf(priority) },
    { kind: 'bpf' },
  );
