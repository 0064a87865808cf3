import { kindOf } from '#src/state/kind.ts';

/** A VXLAN device with `vnifilter` takes packets of this VNI (Linux 5.18). */
export interface Vni {
  readonly kind: 'vni';
  readonly device: string;
  /** 24 bits (RFC 7348 §5). */
  readonly vni: number;
}

const format = ({ device, vni }: Vni): string => `dev ${device} vni ${vni}`;

export const VNI = kindOf<Vni>({
  name: 'vni',
  rank: 2,
  key: ({ device, vni }) => `vni ${vni} dev ${device}`,
  sharesSlot: (a, b) => a.vni === b.vni && a.device === b.device,
  hash: ({ vni }) => vni,
  differences: () => [],
  deviceOf: ({ device }) => device,
  format,
  command: (verb, object) => `bridge vni ${verb === 'remove' ? 'delete' : 'add'} ${format(object)}`,
});
