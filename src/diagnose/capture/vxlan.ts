import { type Unreadable, unreadable, viewOf } from '#src/diagnose/capture/bytes.ts';

/** RFC 7348 §5. */
export interface VxlanHeader {
  readonly kind: 'vxlan';
  /** 0x08: the VNI is valid. Others are of extensions. */
  readonly flags: number;
  readonly vni: number;
  /** The inner frame, from its Ethernet header on. */
  readonly payload: Uint8Array;
}

export const VXLAN_BYTES = 8;

/** Ports of VXLAN: the kernel's, that of Docker's networks here, and IANA's, which Windows hosts use. */
export const USUAL_PORTS: readonly number[] = [8472, 8473, 4789];

export function decodeVxlan(bytes: Uint8Array): VxlanHeader | Unreadable {
  if (bytes.length < VXLAN_BYTES) return unreadable('VXLAN header cut short');
  const view = viewOf(bytes);
  const [flags, vni] = [view.getUint8(0), view.getUint32(4) >>> 8];
  return { kind: 'vxlan', flags, vni, payload: bytes.subarray(VXLAN_BYTES) };
}
