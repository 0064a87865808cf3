import { Differences } from '#src/state/differences.ts';
import { kindOf } from '#src/state/kind.ts';

/**
 * The four programs of a fast path, by what they see:
 *
 * - `from-container`: what a container sends, on its veth (ingress). Puts fresh flows into VXLAN and onto the underlay.
 * - `from-wire`: what the underlay brings (ingress). Takes fresh flows out of VXLAN and into the container.
 * - `note-out`: what the host's rules let out, on the VXLAN device (egress). Makes flows fresh.
 * - `note-in`: what the host's rules let in, on the container's veth (egress). Makes flows fresh.
 */
export type FastProgram = 'from-container' | 'from-wire' | 'note-out' | 'note-in';

/** Where a program is attached. */
export const HOOK_DIRECTION: Readonly<Record<FastProgram, 'ingress' | 'egress'>> = {
  'from-container': 'ingress',
  'from-wire': 'ingress',
  'note-out': 'egress',
  'note-in': 'egress',
};

/** A program of the fast path on a device: a tcx link, or a filter of clsact. */
export interface FastHook {
  readonly kind: 'fast-hook';
  /** The network's VXLAN device: see `FastPath`. */
  readonly set: string;
  readonly device: string;
  readonly program: FastProgram;
  /** Always wanted. Found false: the program is another weft's, or works on maps that are not the set's. */
  readonly isCurrent: boolean;
}

const format = ({ set, device, program }: FastHook): string =>
  `${program} of ${set} dev ${device} ${HOOK_DIRECTION[program]}`;

export const FAST_HOOK = kindOf<FastHook>({
  name: 'fast-hook',
  rank: 11,
  key: ({ set, device, program }) => `fast-hook ${program} of ${set} dev ${device}`,
  sharesSlot: (a, b) => a.device === b.device && a.program === b.program && a.set === b.set,
  hash: ({ device }) => device,
  differences: (wanted, found) =>
    new Differences().field('current program', wanted.isCurrent, found.isCurrent).texts,
  isAsWanted: (wanted, found) => wanted.isCurrent === found.isCurrent,
  deviceOf: ({ device }) => device,
  format,
  command: (verb, hook) =>
    verb === 'remove'
      ? `bpftool net detach tcx_${HOOK_DIRECTION[hook.program]} dev ${hook.device}`
      : `# no program does this: fast path ${verb} hook ${format(hook)}`,
});
