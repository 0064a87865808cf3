import assert from 'node:assert/strict';
import { test } from 'node:test';
import { VXLAN_DEVICES } from '#src/backend/vxlan-kind.ts';
import {
  type Finding,
  formatFinding,
  type PreflightComponents,
  type PreflightOptions,
  preflight,
} from '#src/node/preflight.ts';

const RELEASE = '6.8.0-45-generic';
const VXLAN = '/sys/module/vxlan/parameters/udp_port';
const BRIDGE = '/proc/sys/net/bridge/bridge-nf-call-iptables';
const MODULES = `/lib/modules/${RELEASE}/modules.dep`;

/** A Debian host with Docker running: nothing is missing. */
const GOOD_FILES: Readonly<Record<string, string>> = {
  '/proc/self/status': 'Name:\tnode\nCapInh:\t0000000000000000\nCapEff:\t000001ffffffffff\n',
  '/proc/sys/net/ipv4/ip_forward': '1\n',
  '/proc/sys/net/ipv6/conf/all/forwarding': '1\n',
  '/proc/sys/net/ipv6/conf/default/disable_ipv6': '0\n',
  [VXLAN]: '0\n',
  [BRIDGE]: '1\n',
};
const GOOD_PROGRAMS: Readonly<Record<string, string>> = {
  iptables: 'iptables v1.8.9 (nf_tables)\n',
  ip6tables: 'ip6tables v1.8.9 (nf_tables)\n',
  nft: 'nftables v1.0.6 (Lester Gooch #5)\n',
};

interface Host {
  readonly files?: Readonly<Record<string, string | undefined>>;
  readonly programs?: Readonly<Record<string, string | undefined>>;
  readonly vxlanRefused?: boolean;
  readonly release?: string;
  readonly options?: Partial<PreflightOptions>;
}

function inspect(host: Host): Promise<Finding[]> {
  const files = { ...GOOD_FILES, ...host.files };
  const programs = { ...GOOD_PROGRAMS, ...host.programs };
  const components: PreflightComponents = {
    files: { read: async (path) => files[path] },
    commands: {
      async run([program]) {
        const stdout = programs[program];
        return stdout === undefined
          ? { code: 127, stdout: '', stderr: `spawn ${program} ENOENT` }
          : { code: 0, stdout, stderr: '' };
      },
    },
    tryDevice: async () =>
      host.vxlanRefused ? { errno: 'EOPNOTSUPP', message: 'Unknown device type' } : undefined,
    kernelRelease: host.release ?? RELEASE,
  };
  const options: PreflightOptions = {
    requirements: [VXLAN_DEVICES],
    firewall: 'iptables',
    ipv4: true,
    ipv6: false,
    ...host.options,
  };
  return preflight(components, options, AbortSignal.timeout(60_000));
}

const noVxlan = { vxlanRefused: true, files: { [VXLAN]: undefined } };

/** Each kind of host, and what is said about it: severity, and what the line must hold. */
const HOSTS: readonly (readonly [kind: string, host: Host, said: readonly (readonly [string, RegExp])[]])[] =
  [
    ['a Docker host where all is well', {}, []],
    ['vxlan built into the kernel', { vxlanRefused: true }, []],
    ['vxlan a module that loads when it is needed', { files: { [VXLAN]: undefined } }, []],
    [
      'vxlan a module that is not loaded by itself',
      { ...noVxlan, files: { ...noVxlan.files, [MODULES]: 'kernel/drivers/net/vxlan/vxlan.ko.zst: a b\n' } },
      [['fatal', /EOPNOTSUPP: Unknown device type.*; modprobe vxlan$/]],
    ],
    [
      'an Ubuntu cloud kernel without the extra modules',
      {
        ...noVxlan,
        files: { ...noVxlan.files, [MODULES]: 'kernel/x.ko:\n', '/etc/os-release': 'ID=ubuntu\n' },
      },
      [['fatal', /apt install linux-modules-extra-6\.8\.0-45-generic$/]],
    ],
    [
      'Ubuntu on a Raspberry Pi',
      {
        vxlanRefused: true,
        release: '6.8.0-1013-raspi',
        files: {
          [VXLAN]: undefined,
          '/lib/modules/6.8.0-1013-raspi/modules.dep': '',
          '/etc/os-release': 'NAME="Ubuntu"\nID=ubuntu\n',
        },
      },
      [['fatal', /apt install linux-modules-extra-raspi && reboot$/]],
    ],
    [
      'Rocky Linux with the core modules only',
      { ...noVxlan, files: { ...noVxlan.files, [MODULES]: '', '/etc/os-release': 'ID="rocky"\n' } },
      [['fatal', /dnf install kernel-modules-6\.8\.0-45-generic$/]],
    ],
    [
      'a kernel of the own making, without vxlan',
      { ...noVxlan, files: { ...noVxlan.files, [MODULES]: '', '/etc/os-release': 'ID=lfs\n' } },
      [['fatal', /CONFIG_VXLAN/]],
    ],
    ['a kernel upgraded but not rebooted', noVxlan, [['fatal', /reboot into the installed kernel/]]],
    ['a backend that needs no vxlan', { ...noVxlan, options: { requirements: [] } }, []],
    [
      'a user without rights: vxlan is not reported too',
      { ...noVxlan, files: { ...noVxlan.files, '/proc/self/status': 'CapEff:\t0000000000000000\n' } },
      [['fatal', /^No CAP_NET_ADMIN: .*run as root/]],
    ],
    [
      'a container with NET_RAW but not NET_ADMIN',
      { files: { '/proc/self/status': 'CapEff:\t0000000000002000\n' } },
      [['fatal', /--cap-add=NET_ADMIN/]],
    ],
    [
      'a container with NET_ADMIN alone',
      { files: { '/proc/self/status': 'CapEff:\t0000000000001000\n' } },
      [],
    ],
    [
      'neither iptables nor nft',
      { programs: { iptables: undefined, nft: undefined } },
      [['fatal', /^iptables is not installed.*apt install iptables, or nftables/]],
    ],
    [
      'no iptables, and no rules that need it',
      { programs: { iptables: undefined }, options: { firewall: undefined } },
      [],
    ],
    [
      'no iptables, with nftables',
      { programs: { iptables: undefined }, options: { firewall: 'nftables' } },
      [],
    ],
    ['no iptables, but nft in its place', { programs: { iptables: undefined } }, []],
    [
      'no nft, with nftables',
      { programs: { nft: undefined }, options: { firewall: 'nftables' } },
      [['fatal', /^nft is not installed.*apt install nftables$/]],
    ],
    ['no ip6tables in an IPv4 network', { programs: { ip6tables: undefined } }, []],
    [
      'no ip6tables in a network of both families',
      { programs: { ip6tables: undefined, nft: undefined }, options: { ipv6: true } },
      [['fatal', /^ip6tables is not installed/]],
    ],
    [
      'no ip6tables, but iptables, in a network of both families',
      { programs: { ip6tables: undefined }, options: { ipv6: true } },
      [['fatal', /^ip6tables is not installed/]],
    ],
    [
      'neither iptables nor ip6tables, but nft, in a network of both families',
      { programs: { iptables: undefined, ip6tables: undefined }, options: { ipv6: true } },
      [],
    ],
    [
      'a kernel without IPv6, for a network that has it',
      {
        files: {
          '/proc/sys/net/ipv6/conf/all/forwarding': undefined,
          '/proc/sys/net/ipv6/conf/default/disable_ipv6': undefined,
        },
        options: { ipv6: true },
      },
      [['fatal', /^No IPv6 in the kernel: .*ipv6\.disable=1.*EnableIPv6/]],
    ],
    [
      'IPv6 turned off for new devices',
      { files: { '/proc/sys/net/ipv6/conf/default/disable_ipv6': '1\n' }, options: { ipv6: true } },
      [['warning', /^net\.ipv6\.conf\.default\.disable_ipv6 is 1: .*sysctl -w/]],
    ],
    [
      'the same in a network without IPv6',
      { files: { '/proc/sys/net/ipv6/conf/default/disable_ipv6': '1\n' } },
      [],
    ],
    [
      'a default route from router advertisements',
      { options: { ipv6: true, advertised: ['eth0.7'] } },
      [['warning', /^eth0\.7 has its IPv6 default route .* net\.ipv6\.conf\.eth0\/7\.accept_ra is 1: /]],
    ],
    [
      'rules in both iptables',
      { files: { '/proc/net/ip_tables_names': 'nat\nfilter\n' } },
      [['warning', /legacy tables as well \(nat, filter\).*update-alternatives/]],
    ],
    [
      'a host that uses legacy iptables alone',
      {
        files: { '/proc/net/ip_tables_names': 'nat\n' },
        programs: { iptables: 'iptables v1.8.9 (legacy)\n' },
      },
      [],
    ],
    ['no br_netfilter', { files: { [BRIDGE]: undefined } }, [['warning', /modprobe br_netfilter/]]],
    [
      'no br_netfilter, with nftables',
      { files: { [BRIDGE]: undefined }, options: { firewall: 'nftables' } },
      [],
    ],
    [
      'forwarding off, as before the first start of Docker',
      { files: { '/proc/sys/net/ipv4/ip_forward': '0\n' } },
      [['warning', /^net\.ipv4\.ip_forward is 0.*sysctl -w net\.ipv4\.ip_forward=1$/]],
    ],
    [
      'IPv6 forwarding off in an IPv4 network',
      { files: { '/proc/sys/net/ipv6/conf/all/forwarding': '0\n' } },
      [],
    ],
    [
      'all at once: fatal findings come first',
      {
        ...noVxlan,
        files: { ...noVxlan.files, [BRIDGE]: undefined, '/proc/sys/net/ipv6/conf/all/forwarding': '0\n' },
        programs: { ip6tables: undefined, nft: undefined },
        options: { ipv6: true },
      },
      [
        ['fatal', /vxlan/],
        ['fatal', /ip6tables/],
        ['warning', /net\.ipv6\.conf\.all\.forwarding=1/],
      ],
    ],
  ];

for (const [kind, host, said] of HOSTS) {
  test(`preflight: ${kind}`, async () => {
    const findings = await inspect(host);
    assert.deepEqual(
      findings.map(({ severity }) => severity),
      said.map(([severity]) => severity),
      findings.map(formatFinding).join('\n'),
    );
    for (const [index, finding] of findings.entries()) {
      assert.match(formatFinding(finding), said[index]?.[1] ?? /never/);
    }
  });
}
