import type { UdpTunnelJob, UdpWayJob } from '#src/backend/job.ts';
import { formatIp, formatPrefix } from '#src/lib/ip.ts';
import type { JobHandler } from '#src/node/jobs/job-handler.ts';
import type { OpenUdpTunnel, UdpTunnel } from '#src/sys/udp-tunnel.ts';

export interface UdpJobs {
  readonly tunnels: JobHandler<UdpTunnelJob>;
  readonly ways: JobHandler<UdpWayJob>;
}

/** Tunnels that this process carries, and the ways in them. */
export function udpJobs(open: OpenUdpTunnel): UdpJobs {
  const running = new Map<string, UdpTunnel>();
  const end = (device: string): void => {
    running.get(device)?.close();
    running.delete(device);
  };
  return {
    tunnels: {
      async start({ device, local, port, subnet }, { before, lost }) {
        if (before !== undefined) end(before.device);
        try {
          const tunnel = await open({ device, local, port, subnet, onEnd: lost });
          running.set(device, tunnel);
        } catch (error) {
          throw new Error(explained(error, device, `${formatIp(local)}:${port}`), { cause: error });
        }
      },
      async stop({ device }) {
        end(device);
      },
      format: ({ device }) => `ip tuntap add ${device} mode tun`,
    },
    ways: {
      async start({ device, subnet, to }) {
        const tunnel = running.get(device);
        if (tunnel === undefined) throw new Error(`the tunnel ${device} is not there`);
        tunnel.route(subnet, to);
      },
      async stop({ device, subnet }) {
        running.get(device)?.route(subnet, undefined);
      },
      format: ({ device, subnet, to }) =>
        `# packets on ${device} to ${formatPrefix(subnet)} go to ${formatIp(to)}`,
    },
  };
}

function explained(error: unknown, device: string, address: string): string {
  const { code, message } = error as { code?: string; message: string };
  switch (code) {
    case 'ENOENT':
      return 'there is no /dev/net/tun; load the module ("modprobe tun")';
    case 'EACCES':
    case 'EPERM':
      return `${message}; in a sandbox of systemd, the service needs DeviceAllow=/dev/net/tun rw and PrivateDevices=no`;
    case 'EBUSY':
      return `another program has the device ${device}: a flanneld that still runs?`;
    case 'EINVAL':
      return `there is another device ${device}, which is no TUN device; "ip link del ${device}" removes it`;
    case 'EADDRINUSE':
      return `another program has the UDP port ${address}; "ss -lunp" names it`;
    default:
      return message;
  }
}
