import type { Finding } from '#src/node/preflight.ts';
import type { Files } from '#src/sys/files.ts';

/** What keeps a network with IPv6 from working on this host, or is changed for it. `advertised`: see PreflightOptions. */
export async function ipv6Findings(
  files: Pick<Files, 'read'>,
  advertised: readonly string[],
): Promise<Finding[]> {
  const read = async (setting: string): Promise<string | undefined> =>
    (await files.read(`/proc/sys/net/ipv6/conf/${setting}`))?.trim();
  const disabled = await read('default/disable_ipv6');
  if (disabled === undefined) return [NO_IPV6];
  const findings = disabled === '1' ? [NEW_DEVICES_WITHOUT_IPV6] : [];
  for (const device of advertised) findings.push(followsRouters(device));
  return findings;
}

const NO_IPV6: Finding = {
  severity: 'fatal',
  what: 'No IPv6 in the kernel',
  why: 'the network has IPv6, and /proc/sys/net/ipv6 is not there',
  remedy:
    'take ipv6.disable=1 out of the kernel\'s command line and reboot, or set "EnableIPv6": false in the network config',
};

const NEW_DEVICES_WITHOUT_IPV6: Finding = {
  severity: 'warning',
  what: 'net.ipv6.conf.default.disable_ipv6 is 1',
  why: 'new devices have no IPv6; flanneld and Docker turn it on for their own, but an underlay that is made again has none',
  remedy:
    'set it to 0 in /etc/sysctl.conf and /etc/sysctl.d, and sysctl -w net.ipv6.conf.default.disable_ipv6=0',
};

/**
 * Linux takes no default route from router advertisements on a host that forwards (accept_ra is 1), and when forwarding is
 * turned on it removes the one that it has (rt6_purge_dflt_routers of net/ipv6/route.c).
 */
function followsRouters(device: string): Finding {
  const sysctl = `net.ipv6.conf.${device.replaceAll('.', '/')}.accept_ra`;
  return {
    severity: 'warning',
    what: `${device} has its IPv6 default route from router advertisements, and ${sysctl} is 1`,
    why: 'Linux takes that route away when the host forwards; flanneld sets it to 2 now, which keeps the route',
    remedy: `to set it at every boot: echo ${sysctl}=2 > /etc/sysctl.d/90-accept-ra-${device}.conf`,
  };
}
