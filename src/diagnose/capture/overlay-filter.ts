import { netmask4, type Prefix } from '#src/lib/ip.ts';
import {
  BPF_LD_B_ABS,
  BPF_LD_H_ABS,
  BPF_LD_H_IND,
  BPF_LD_W_ABS,
  BPF_LDX_B_MSH,
  type BpfInstructions,
  BpfProgram,
} from '#src/sys/bpf-program.ts';

/** linux/filter.h: loads from the network header on, and what the kernel knows of the frame. */
const SKF_NET_OFF = -0x100000;
const SKF_AD_PROTOCOL = -0x1000;
const [ETH_P_IP, ETH_P_IPV6, ETH_P_8021Q, ETH_P_8021AD] = [0x0800, 0x86dd, 0x8100, 0x88a8];
const [ICMP, UDP, FRAGMENT, ICMPV6] = [1, 17, 44, 58];
const FRAGMENT_OFFSET = 0x1fff;
/** BPF jumps over 255 instructions at most. */
const MOST_PORTS = 32;
const MOST_NETWORKS = 16;

export interface OverlayTraffic {
  /** UDP ports at which hosts take VXLAN packets. */
  readonly ports: readonly number[];
  /** Networks whose packets go without a tunnel between some hosts. */
  readonly networks: readonly Prefix[];
}

/**
 * What the kernel lets through of a host's whole traffic: packets to the tunnels' ports, fragments of UDP packets, which have
 * no ports, ICMP, which reports errors about them, and packets of the networks themselves. A looser filter than the one of
 * the command, which sees the packet whole.
 */
export function overlayFilter({ ports, networks }: OverlayTraffic, snapLength: number): BpfInstructions {
  const program = new BpfProgram<'v4' | 'v6' | 'udp' | 'udp6' | 'network' | 'network6' | 'accept'>();
  program.load(BPF_LD_H_ABS, SKF_AD_PROTOCOL);
  program.jumpIf(ETH_P_IP, 'v4');
  program.jumpIf(ETH_P_IPV6, 'v6');
  // A tag that is still in the frame.
  program.jumpIf(ETH_P_8021Q, 'accept');
  program.jumpIf(ETH_P_8021AD, 'accept');
  program.return(0);
  program.label('v6');
  program.load(BPF_LD_B_ABS, SKF_NET_OFF + 6);
  program.jumpIf(UDP, 'udp6');
  program.jumpIf(FRAGMENT, 'accept');
  program.jumpIf(ICMPV6, 'accept');
  program.jump('network6');
  program.label('udp6');
  program.load(BPF_LD_H_ABS, SKF_NET_OFF + 42);
  for (const port of ports.slice(0, MOST_PORTS)) program.jumpIf(port, 'accept');
  program.label('network6');
  // Of an address of 128 bits the first 32 are looked at.
  for (const { first, mask } of ranges(networks, 6)) {
    for (const offset of [8, 24]) {
      program.load(BPF_LD_W_ABS, SKF_NET_OFF + offset);
      program.and(mask);
      program.jumpIf(first, 'accept');
    }
  }
  program.return(0);
  program.label('v4');
  program.load(BPF_LD_B_ABS, SKF_NET_OFF + 9);
  program.jumpIf(ICMP, 'accept');
  program.jumpIf(UDP, 'udp');
  program.jump('network');
  program.label('udp');
  program.load(BPF_LD_H_ABS, SKF_NET_OFF + 6);
  program.jumpIfAny(FRAGMENT_OFFSET, 'accept');
  program.load(BPF_LDX_B_MSH, SKF_NET_OFF);
  program.load(BPF_LD_H_IND, SKF_NET_OFF + 2);
  for (const port of ports.slice(0, MOST_PORTS)) program.jumpIf(port, 'accept');
  program.label('network');
  for (const { first, mask } of ranges(networks, 4)) {
    for (const offset of [12, 16]) {
      program.load(BPF_LD_W_ABS, SKF_NET_OFF + offset);
      program.and(mask);
      program.jumpIf(first, 'accept');
    }
  }
  program.return(0);
  program.label('accept');
  program.return(snapLength);
  return program.assemble();
}

/** The first 32 bits of each range of a family, and which of them count. */
const ranges = (
  networks: readonly Prefix[],
  family: 4 | 6,
): { readonly first: number; readonly mask: number }[] =>
  networks
    .filter((network) => network.family === family)
    .slice(0, MOST_NETWORKS)
    .map((network) => {
      const mask = netmask4(Math.min(network.length, 32));
      const first = network.family === 4 ? network.address : Number(network.address >> 96n);
      return { first: (first & mask) >>> 0, mask };
    });
