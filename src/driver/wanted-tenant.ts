import { NETWORK_OPTION, refuseUnknown } from '#src/driver/address-requests.ts';
import type { NetworkPool, NetworkRequest } from '#src/driver/plugin.ts';
import { ADDRESS_SPACE } from '#src/driver/plugin-methods.ts';
import type { WantedTenant } from '#src/driver/tenant-directory.ts';
import { WeftError } from '#src/lib/errors.ts';
import type { Ipv4, Ipv6, Prefix, Prefix4, Prefix6 } from '#src/lib/ip.ts';
import { defaultGateway } from '#src/tenant/subnet-rules.ts';
import { HIGHEST_VNI } from '#src/tenant/tenant-codec.ts';
import { assertTenantName } from '#src/tenant/tenant-name.ts';

const VNI_OPTION = 'weft.vni';
const MTU_OPTION = 'weft.mtu';
/** How Docker's own drivers spell it. */
const DOCKER_MTU_OPTION = 'com.docker.network.driver.mtu';
/** What Docker itself reads is not for the driver to judge. */
const DOCKERS = 'com.docker.network.';

/** The `--ip-range` of the network that Docker is making, which is in its request for a pool only. */
export type RangeOf = (tenant: string, family: 4 | 6) => Prefix | undefined;

/** What `docker network create` asks for. Throws WeftError `driver-option` for what weft does not have. */
export function wantedTenant({ options, internal, pools }: NetworkRequest, rangeOf: RangeOf): WantedTenant {
  const { [NETWORK_OPTION]: name, [VNI_OPTION]: vni, [MTU_OPTION]: ours, ...others } = options;
  const mtu = ours ?? others[DOCKER_MTU_OPTION];
  const unknown = Object.fromEntries(Object.entries(others).filter(([key]) => !key.startsWith(DOCKERS)));
  if (name === undefined) {
    throw new WeftError(
      'driver-option',
      `-o ${NETWORK_OPTION}=NAME is missing: it says which network this is`,
      {
        remedy: `docker network create -d weft -o ${NETWORK_OPTION}=NAME --ipam-driver weft --ipam-opt ${NETWORK_OPTION}=NAME NAME`,
      },
    );
  }
  assertTenantName(name);
  refuseUnknown(unknown, '-o', [NETWORK_OPTION, VNI_OPTION, MTU_OPTION]);
  const foreign = pools.find(({ addressSpace }) => addressSpace !== ADDRESS_SPACE);
  if (foreign !== undefined || pools.length === 0) {
    throw new WeftError(
      'driver-option',
      `the addresses of network ${name} would come from Docker, and repeat on each host`,
      {
        remedy: `add --ipam-driver weft --ipam-opt ${NETWORK_OPTION}=${name}`,
      },
    );
  }
  const [v4, v6] = [poolOf(pools, 4), poolOf(pools, 6)];
  const [range4, range6] = [rangeOf(name, 4), rangeOf(name, 6)];
  return {
    name,
    internal,
    ...(vni !== undefined && { vni: readNumber(VNI_OPTION, vni, 1, HIGHEST_VNI) }),
    ...(mtu !== undefined && { mtu: readNumber(MTU_OPTION, mtu, v6 === undefined ? 68 : 1_280, 65_535) }),
    subnets: {
      ...(v4 && {
        v4: {
          prefix: v4.pool as Prefix4,
          ...(range4 && { range: range4 as Prefix4 }),
          gateway: (v4.gateway?.address ?? defaultGateway(v4.pool)) as Ipv4,
          auxiliary: v4.auxiliary as Readonly<Record<string, Ipv4>>,
        },
      }),
      ...(v6 && {
        v6: {
          prefix: v6.pool as Prefix6,
          ...(range6 && { range: range6 as Prefix6 }),
          gateway: (v6.gateway?.address ?? defaultGateway(v6.pool)) as Ipv6,
          auxiliary: v6.auxiliary as Readonly<Record<string, Ipv6>>,
        },
      }),
    },
  };
}

/** A network has one subnet of a family: a full one would not make Docker go on to the next. */
function poolOf(pools: readonly NetworkPool[], family: 4 | 6): NetworkPool | undefined {
  const [first, second] = pools.filter(({ pool }) => pool.family === family);
  if (second === undefined) return first;
  throw new WeftError('driver-option', `a network of weft has one IPv${family} subnet, not several`, {
    remedy: 'give one that is large enough',
  });
}

function readNumber(option: string, text: string, lowest: number, highest: number): number {
  const value = /^\d{1,8}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= lowest && value <= highest) return value;
  throw new WeftError(
    'driver-option',
    `-o ${option}=${text} is not a whole number from ${lowest} to ${highest}`,
  );
}
