import { formatDockerFwmark, parseDockerFwmark } from '#src/docker/docker-fwmark.ts';
import type { CommandResult } from '#src/sys/command.ts';

/**
 * Docker's own two doors for an overlay. They are for its firewall back end `nftables`: no rule of
 * another table can undo its drops. `--allow-direct-routing` (Docker 28.2) leaves out the drop of
 * packets that come by another device than the bridge; `--bridge-accept-fwmark` (Docker 29.0)
 * accepts marked packets before the drop of unpublished ports. The back end is as old as the second
 * door, so dockerd gets both or none.
 */
export const DOORS = ['--allow-direct-routing', '--bridge-accept-fwmark'] as const;
const FIRST_MAJOR = 29;
const DEADLINE_MS = 10_000;

export interface Dockerd {
  run(argv: readonly [string, ...string[]], options?: { timeoutMs?: number }): Promise<CommandResult>;
}

/** Whether the dockerd in PATH has the doors; no dockerd has none. A `problem` when it gives no answer. */
export async function askForDoors(
  commands: Dockerd,
): Promise<{ readonly doors: boolean; readonly problem?: string }> {
  const { code, stdout, stderr } = await commands.run(['dockerd', '--help'], { timeoutMs: DEADLINE_MS });
  if (code === 0) return { doors: DOORS.every((door) => new RegExp(`^ *${door}( |$)`, 'm').test(stdout)) };
  if (code === 127) return { doors: false };
  return { doors: false, problem: stderr.trim().split('\n').at(-1) || `it ended with ${code}` };
}

/** Whether a Docker of this version (`20.10`, `28.1`, `29`) has the doors; `undefined` for what is no version. */
export function hasDoors(version: string): boolean | undefined {
  const major = /^v?(\d+)(\.\d+){0,2}([-+~].*)?$/.exec(version)?.[1];
  return major === undefined ? undefined : Number(major) >= FIRST_MAJOR;
}

/** The options that dockerd has already, from its command line and daemon.json. */
export interface DockerdConfig {
  /** `undefined` where it is not named; Docker 29 then takes iptables. */
  readonly backend: 'iptables' | 'nftables' | undefined;
  readonly directRouting: boolean;
  readonly fwmark: string | undefined;
  /** Whether containers get IPv6; `undefined` where it does not say. */
  readonly ipv6: boolean | undefined;
  readonly fixedCidrV6: string | undefined;
}

/** Reads options as they stand in variables and units (`--firewall-backend=nftables`), and the text of daemon.json. */
export function readDockerdConfig(options: string, daemonJson: string | undefined): DockerdConfig {
  const file = parseObject(daemonJson);
  const named = (name: string): string | undefined =>
    new RegExp(`(?:^|\\s)--?${name}[= ]["']?([\\w/:.]+)`).exec(options)?.[1] ?? textOf(file[name]);
  // A flag of Go: `--ipv6` alone says true.
  const [isNamed, value] = /(?:^|\s)--?ipv6(?:=["']?(\w+))?(?=["'\s]|$)/.exec(options) ?? [];
  const ipv6 = isNamed === undefined ? file.ipv6 : !FALSE.includes(value ?? '');
  const backend = named('firewall-backend');
  return {
    backend: backend === 'iptables' || backend === 'nftables' ? backend : undefined,
    directRouting:
      /(^|\s)--?allow-direct-routing/.test(options) || file['allow-direct-routing'] !== undefined,
    fwmark: named('bridge-accept-fwmark'),
    ipv6: typeof ipv6 === 'boolean' ? ipv6 : undefined,
    fixedCidrV6: named('fixed-cidr-v6'),
  };
}

/** What Go's strconv.ParseBool reads as false. */
const FALSE = ['0', 'f', 'F', 'false', 'False', 'FALSE'];

/** The file that dockerd will read: the one that its options name, or Docker's own. */
export const daemonJsonOf = (options: string): string =>
  /(?:^|\s)--?config-file[= ]["']?([^\s"']+)/.exec(options)?.[1] ?? '/etc/docker/daemon.json';

/**
 * The doors as variables for dockerd, by the names that mk-docker-opts gives to its others. Options
 * that dockerd has already are left out, because it refuses an option that is also in daemon.json.
 * So is direct routing where the back end is known to be iptables: flanneld's own rules suffice
 * there, and Docker keeps its protection of ports published on one address only.
 */
export function doorOptions(
  mark: number,
  { backend, directRouting, fwmark }: DockerdConfig,
): Record<string, string> {
  if (mark === 0) return {};
  return {
    ...(backend !== 'iptables' && !directRouting && { DOCKER_OPT_ALLOW_DIRECT_ROUTING: DOORS[0] }),
    ...(fwmark === undefined && {
      DOCKER_OPT_BRIDGE_ACCEPT_FWMARK: `${DOORS[1]}=${formatDockerFwmark(mark)}`,
    }),
  };
}

/** What is wrong when dockerd accepts another mark than flanneld sets; `undefined` when nothing is. */
export function otherFwmark(mark: number, { fwmark }: DockerdConfig): string | undefined {
  if (mark === 0 || fwmark === undefined) return undefined;
  const read = parseDockerFwmark(fwmark);
  if ('mark' in read && read.mark === mark) return undefined;
  return `dockerd has --bridge-accept-fwmark=${fwmark} already, but flanneld marks with ${formatDockerFwmark(mark)}`;
}

function parseObject(text: string | undefined): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text ?? '{}');
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    // dockerd itself says what is wrong with its file.
    return {};
  }
}

const textOf = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);
