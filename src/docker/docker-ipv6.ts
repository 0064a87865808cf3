import type { DockerdConfig } from '#src/docker/docker-doors.ts';
import { containsPrefix, formatPrefix, masked, parsePrefix6 } from '#src/lib/ip.ts';

/**
 * The options with which dockerd's own bridge has the host's IPv6 subnet, `FLANNEL_IPV6_SUBNET` of subnet.env, as variables
 * by the names that mk-docker-opts gives to its others. They are the same for every Docker that weft knows: 20.10 keeps no
 * IPv6 rules without `--experimental --ip6tables`, and needs none, because flanneld's own masquerade and forward; from 27 on
 * its rules are there by default.
 *
 * What dockerd has already is left out, because it refuses an option that is also in daemon.json.
 */
export function ipv6Options(subnet: string | undefined, config: DockerdConfig): Record<string, string> {
  const prefix = parsePrefix6(subnet ?? '');
  if (prefix === undefined) return {};
  return {
    ...(config.ipv6 === undefined && { DOCKER_OPT_IPV6: '--ipv6' }),
    ...(config.fixedCidrV6 === undefined && {
      DOCKER_OPT_FIXED_CIDR_V6: `--fixed-cidr-v6=${formatPrefix(masked(prefix))}`,
    }),
  };
}

/** Why containers would have no address of the overlay although dockerd gets these options, one clause each. */
export function ipv6Faults(
  subnet: string | undefined,
  { ipv6, fixedCidrV6 }: Pick<DockerdConfig, 'ipv6' | 'fixedCidrV6'>,
): string[] {
  const prefix = parsePrefix6(subnet ?? '');
  if (prefix === undefined) return [];
  const theirs = fixedCidrV6 === undefined ? prefix : parsePrefix6(fixedCidrV6);
  const isInside = theirs !== undefined && containsPrefix(masked(prefix), theirs);
  return [
    ...(ipv6 === false ? ['dockerd has ipv6=false already, so its containers get no IPv6; remove it'] : []),
    ...(isInside
      ? []
      : [
          `dockerd has fixed-cidr-v6=${fixedCidrV6} already, which is not in this host's subnet ${formatPrefix(masked(prefix))}: no other host would reach its containers; remove it`,
        ]),
  ];
}
