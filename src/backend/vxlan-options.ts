import type { GoObject } from '#src/network/go-json.ts';

/** The vxlan backend's part of the network config (flannel v0.9.1 and HEAD, backend/vxlan/vxlan.go). */
export interface VxlanOptions {
  /** VXLAN network identifier, 24 bits. Default 1; the device is called after it. */
  readonly vni: number;
  /** UDP destination port. Default 8472, the kernel's. */
  readonly port: number;
  /** Group based policy. Default false. */
  readonly gbp: boolean;
  /** Peers that the underlay reaches without a gateway get a plain route. Default false. */
  readonly directRouting: boolean;
  /** Default false: every VTEP is known. */
  readonly learning: boolean;
  /** MTU of the underlay to reckon with, in bytes; default is the interface's. */
  readonly mtu: number | undefined;
}

/** linux/vxlan.c: the port of a device that is made without one. */
export const VXLAN_DEFAULT_PORT = 8472;
/** The least MTU an IPv4 host must take (RFC 791), and the overhead. */
const LEAST_MTU = 68 + 50;

/** Throws WeftError `config`, naming field and value. */
export function readVxlanOptions(options: GoObject): VxlanOptions {
  const mtu = options.integer('MTU', 0, 65_535);
  if (mtu !== undefined && mtu !== 0 && mtu < LEAST_MTU)
    throw options.error('MTU', `an MTU below ${LEAST_MTU} leaves no packet room`);
  return {
    vni: options.integer('VNI', 0, 2 ** 24 - 1) ?? 1,
    // Go can't tell 0 from absent.
    port: options.integer('Port', 0, 65_535) || VXLAN_DEFAULT_PORT,
    gbp: options.boolean('GBP') ?? false,
    directRouting: options.boolean('DirectRouting') ?? false,
    learning: options.boolean('Learning') ?? false,
    mtu: mtu === 0 ? undefined : mtu,
  };
}
