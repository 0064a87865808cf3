import { attributes, i32, ip, struct, u8, u32 } from '#src/kernel/attributes.ts';
import * as k from '#src/kernel/constants.ts';
import type { DeviceIndexes } from '#src/kernel/find-device.ts';
import { MessageLayout, type Request } from '#src/kernel/message.ts';
import type { RtnetlinkClient } from '#src/kernel/rtnetlink-client.ts';
import type { Ip } from '#src/lib/ip.ts';
import { isIpv4 } from '#src/lib/ip.ts';

/** A packet whose way the kernel is asked for. */
export interface RouteQuestion {
  readonly to: Ip;
  readonly from?: Ip | undefined;
  /** The device that it came in by; without one it is the host's own. */
  readonly by?: string | undefined;
  readonly mark?: number | undefined;
}

/** The kernel's decision on such a packet: its rules, tables, source check and forwarding switches together. */
export type RouteDecision =
  | {
      readonly outcome: 'way';
      /** `local`: it is for this host. */
      readonly type: 'unicast' | 'local' | 'other';
      readonly device: string;
      readonly via?: Ip;
      readonly source?: Ip;
      /** The table that had the route: 254 is main, 255 local. */
      readonly table: number;
    }
  /** `errno` is the kernel's: EXDEV after the source check, EHOSTUNREACH without forwarding, ENETUNREACH without a route. */
  | { readonly outcome: 'refused'; readonly errno: string; readonly message: string };

/** struct rtmsg */
const HEADER = struct({
  family: u8,
  destinationLength: u8,
  sourceLength: u8,
  tos: u8,
  table: u8,
  protocol: u8,
  scope: u8,
  type: u8,
  flags: u32,
});

const MESSAGE = new MessageLayout(
  HEADER,
  attributes({
    destination: [k.RTA_DST, ip],
    from: [k.RTA_SRC, ip],
    by: [k.RTA_IIF, i32],
    device: [k.RTA_OIF, i32],
    gateway: [k.RTA_GATEWAY, ip],
    source: [k.RTA_PREFSRC, ip],
    table: [k.RTA_TABLE, u32],
    mark: [k.RTA_MARK, u32],
  }),
);

function request({ to, from, mark }: RouteQuestion, by: number | undefined): Request {
  const bits = isIpv4(to) ? 32 : 128;
  return MESSAGE.request(
    k.RTM_GETROUTE,
    0,
    {
      family: isIpv4(to) ? k.AF_INET : k.AF_INET6,
      destinationLength: bits,
      sourceLength: from === undefined ? 0 : bits,
      // IPv6 names the table in any case, and refuses the flag (inet6_rtm_valid_getroute_req, net/ipv6/route.c).
      flags: isIpv4(to) ? k.RTM_F_LOOKUP_TABLE : 0,
    },
    { destination: to, from, by, mark },
  );
}

/** Equals `ip route get TO from FROM iif BY mark MARK`. */
export function askRoute(
  client: Pick<RtnetlinkClient, 'request' | 'deviceName'>,
  indexes: DeviceIndexes,
  question: RouteQuestion,
): RouteDecision {
  const by = question.by === undefined ? undefined : indexes.of(question.by);
  if (question.by !== undefined && by === undefined)
    return { outcome: 'refused', errno: 'ENODEV', message: `there is no device ${question.by}` };
  const answer = client.request(request(question, by));
  if ('error' in answer) return { outcome: 'refused', ...answer.error };
  const read = MESSAGE.read(answer.message);
  const { device, gateway, source, table } = read?.values ?? {};
  const type = read?.header.type;
  const name = device === undefined ? undefined : client.deviceName(device);
  return {
    outcome: 'way',
    type: type === k.RTN_UNICAST ? 'unicast' : type === k.RTN_LOCAL ? 'local' : 'other',
    device: name ?? '',
    ...(gateway !== undefined && { via: gateway }),
    ...(source !== undefined && { source }),
    table: table ?? read?.header.table ?? 0,
  };
}
