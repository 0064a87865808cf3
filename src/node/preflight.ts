import type { Requirement } from '#src/backend/backend.ts';
import { ipv6Findings } from '#src/node/preflight-ipv6.ts';
import type { Link } from '#src/state/object.ts';
import type { KernelError } from '#src/state/operation.ts';
import { missingCapabilities } from '#src/sys/capabilities.ts';
import type { CommandRunner } from '#src/sys/command.ts';
import type { Files } from '#src/sys/files.ts';

/** One thing the host lacks. A fatal one stops the start before anything on the host is touched. */
export interface Finding {
  readonly severity: 'fatal' | 'warning';
  /** What is missing. */
  readonly what: string;
  /** What fails without it. */
  readonly why: string;
  /** The command that supplies it. */
  readonly remedy: string;
}

export interface PreflightComponents {
  /** A file that may not be read counts as absent. */
  readonly files: Pick<Files, 'read'>;
  readonly commands: CommandRunner;
  /** Makes a device and removes it. Returns the kernel's refusal, if it refused. */
  readonly tryDevice: (probe: Link) => Promise<KernelError | undefined>;
  /** `uname -r`. */
  readonly kernelRelease: string;
}

export interface PreflightOptions {
  /** Types of device that the backend makes. */
  readonly requirements: readonly Requirement[];
  /** The program for the rules; `undefined` when neither masquerade nor forward rules are wanted. */
  readonly firewall: 'iptables' | 'nftables' | undefined;
  readonly ipv4: boolean;
  readonly ipv6: boolean;
  /** The devices whose IPv6 default route comes from router advertisements, and would go when the host forwards. */
  readonly advertised?: readonly string[];
}

/** Examines the host before the start and names everything that is missing, fatal findings first. */
export async function preflight(
  given: PreflightComponents,
  options: PreflightOptions,
  signal: AbortSignal,
): Promise<Finding[]> {
  const components = {
    ...given,
    files: { read: (path: string) => given.files.read(path).catch(() => undefined) },
  };
  const missingForDevices = async () => {
    // Without the capability the kernel refuses any device, whether it knows the type or not.
    const missing = await missingCapabilities(components.files, ['CAP_NET_ADMIN']);
    return missing.length === 0 ? missingDevices(components, options) : [NO_NET_ADMIN];
  };
  const findings = await Promise.all([
    missingForDevices(),
    missingFirewall(components, options, signal),
    missingSysctls(components, options),
    options.ipv6 ? ipv6Findings(components.files, options.advertised ?? []) : [],
  ]);
  return findings.flat().sort((a, b) => Number(b.severity === 'fatal') - Number(a.severity === 'fatal'));
}

/** The finding in one line, as the log and `weft doctor` show it. */
export const formatFinding = ({ what, why, remedy }: Finding): string => `${what}: ${why}; ${remedy}`;

const NO_NET_ADMIN: Finding = {
  severity: 'fatal',
  what: 'No CAP_NET_ADMIN',
  why: 'the kernel lets this process change neither devices nor routes',
  remedy:
    'run as root, or add AmbientCapabilities=CAP_NET_ADMIN to the unit, or --cap-add=NET_ADMIN to the container',
};

/**
 * A type of device may be built in, loaded, or a module that the kernel loads when the first device is made. The module's
 * file under /sys is there in the first two cases. In the third case only an attempt shows it.
 */
async function missingDevices(
  components: PreflightComponents,
  { requirements }: PreflightOptions,
): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const requirement of requirements) findings.push(...(await missingDevice(components, requirement)));
  return findings;
}

async function missingDevice(components: PreflightComponents, requirement: Requirement): Promise<Finding[]> {
  const { files, tryDevice, kernelRelease } = components;
  const { module, evidence, probe } = requirement;
  if ((await files.read(evidence)) !== undefined) return [];
  const refused = await tryDevice(probe);
  if (refused === undefined) return [];
  const modules = await files.read(`/lib/modules/${kernelRelease}/modules.dep`);
  return [
    {
      severity: 'fatal',
      what: `No ${module} in the kernel`,
      why: `the kernel refused a ${module} device (${refused.errno}: ${refused.message})`,
      remedy: await deviceRemedy(components, requirement, modules),
    },
  ];
}

async function deviceRemedy(
  { files, kernelRelease }: PreflightComponents,
  { module, buildOption }: Requirement,
  modules: string | undefined,
): Promise<string> {
  if (modules?.includes(`/${module}.ko`)) return `modprobe ${module}`;
  // An upgrade of the kernel's package removes the running kernel's modules until the next boot.
  if (modules === undefined) {
    return `the modules of the running kernel ${kernelRelease} are not in /lib/modules: reboot into the installed kernel, or mount /lib/modules into the container`;
  }
  const release = (await files.read('/etc/os-release')) ?? '';
  const id = /^ID="?([\w.-]+)"?$/m.exec(release)?.[1] ?? '';
  return (
    PACKAGES[id]?.(kernelRelease) ?? `run a kernel with ${buildOption}; ${kernelRelease} has no such module`
  );
}

/** The packages with the modules that a distribution's smallest kernel package lacks, by the ID of /etc/os-release. */
const PACKAGES: Readonly<Record<string, (release: string) => string>> = {
  ubuntu: (release) =>
    release.endsWith('-raspi')
      ? 'apt install linux-modules-extra-raspi && reboot'
      : `apt install linux-modules-extra-${release}`,
  fedora: (release) => `dnf install kernel-modules-${release}`,
  rhel: (release) => `dnf install kernel-modules-${release}`,
  centos: (release) => `dnf install kernel-modules-${release}`,
  rocky: (release) => `dnf install kernel-modules-${release}`,
  almalinux: (release) => `dnf install kernel-modules-${release}`,
};

async function missingFirewall(
  { commands, files }: PreflightComponents,
  { firewall, ipv6 }: PreflightOptions,
  signal: AbortSignal,
): Promise<Finding[]> {
  if (firewall === undefined) return [];
  const version = async (program: string): Promise<{ readonly text: string; readonly problem?: string }> => {
    const { code, stdout, stderr } = await commands.run([program, '--version'], { signal });
    if (code === 0) return { text: stdout };
    const problem = code === 127 ? 'is not installed' : `does not run: ${stderr.trim().split('\n')[0] ?? ''}`;
    return { text: '', problem };
  };
  if (firewall === 'nftables') {
    const { problem } = await version('nft');
    return problem === undefined ? [] : [noFirewall('nft', problem, 'apt install nftables')];
  }
  // Which of the two kinds a host has, iptables says for both families.
  const programs = ['iptables', ...(ipv6 ? ['ip6tables'] : [])];
  const versions = await Promise.all(programs.map(async (name) => ({ name, ...(await version(name)) })));
  const broken = versions.filter(({ problem }) => problem !== undefined);
  // Without iptables the rules go in as nftables, those of IPv6 too; with it they go into ip6tables.
  const byNft = broken.some(({ name }) => name === 'iptables');
  if (broken.length > 0 && byNft && (await version('nft')).problem === undefined) return [];
  if (broken.length > 0) {
    return broken.map(({ name, problem = '' }) =>
      noFirewall(name, problem, 'apt install iptables, or nftables in its place'),
    );
  }
  const modern = versions.some(({ text }) => text.includes('nf_tables'));
  return [...(modern ? await twoFirewalls(files) : []), ...(await noBridgeNetfilter(files))];
}

const noFirewall = (program: string, problem: string, remedy: string): Finding => ({
  severity: 'fatal',
  what: `${program} ${problem}`,
  why: "masquerade and forward rules can't be set",
  remedy,
});

/** There are two programs named iptables. Neither sees the rules that the other has set. */
async function twoFirewalls(files: Pick<Files, 'read'>): Promise<Finding[]> {
  // The kernel lists the legacy tables in use here.
  const legacy = ((await files.read('/proc/net/ip_tables_names')) ?? '').split('\n').filter(Boolean);
  if (legacy.length === 0) return [];
  return [
    {
      severity: 'warning',
      what: `iptables sets rules in nf_tables, but this host has legacy tables as well (${legacy.join(', ')})`,
      why: 'a packet must pass both, and an ACCEPT in one does not undo a DROP in the other',
      remedy:
        'compare iptables-legacy-save and iptables-nft-save, keep one: update-alternatives --config iptables, then restart Docker',
    },
  ];
}

/**
 * flannel since 2024 refuses to start without br_netfilter; v0.9.1 does not check. Routed overlay traffic does not need
 * it, so a host that ran v0.9.1 must not fail here.
 */
async function noBridgeNetfilter(files: Pick<Files, 'read'>): Promise<Finding[]> {
  if ((await files.read('/proc/sys/net/bridge/bridge-nf-call-iptables')) !== undefined) return [];
  return [
    {
      severity: 'warning',
      what: 'br_netfilter is not loaded',
      why: 'iptables does not see traffic between containers of one bridge',
      remedy: 'modprobe br_netfilter, and echo br_netfilter > /etc/modules-load.d/br_netfilter.conf',
    },
  ];
}

/** A warning and not an error: flanneld turns forwarding on, and so does Docker, which starts later. */
async function missingSysctls(
  { files }: PreflightComponents,
  { ipv4, ipv6 }: PreflightOptions,
): Promise<Finding[]> {
  const sysctls = [ipv4 && 'net.ipv4.ip_forward', ipv6 && 'net.ipv6.conf.all.forwarding'];
  const findings: Finding[] = [];
  for (const sysctl of sysctls) {
    if (sysctl === false) continue;
    const value = await files.read(`/proc/sys/${sysctl.replaceAll('.', '/')}`);
    if (value?.trim() !== '0') continue;
    findings.push({
      severity: 'warning',
      what: `${sysctl} is 0`,
      why: 'the host forwards nothing between containers and the overlay until it is turned on, which flanneld does now',
      remedy: `to set it at every boot: echo ${sysctl}=1 > /etc/sysctl.d/90-forwarding.conf && sysctl -w ${sysctl}=1`,
    });
  }
  return findings;
}
