import { join } from 'node:path';
import { socketsOf } from '#src/cli/ask-networks.ts';
import { assertChecks, CHECK_FLAGS, chosen, listChecks } from '#src/cli/choose-checks.ts';
import {
  formatDiagnoses,
  type InstallationDiagnosis,
  type NetworkDiagnosis,
  type Totals,
  totalsOf,
} from '#src/cli/format-diagnosis.ts';
import { lookAtInstallation } from '#src/cli/look-at-installation.ts';
import { lookCommand } from '#src/cli/look-command.ts';
import { installationJson } from '#src/cli/self-check-command.ts';
import { docsOf } from '#src/diagnose/check.ts';
import { CHECKS } from '#src/diagnose/checks.ts';
import { type DiagnoseComponents, type DiagnoseOptions, readHostFacts } from '#src/diagnose/host-facts.ts';
import { INSTALLATION_CHECKS } from '#src/diagnose/installation-checks.ts';
import { askDaemon, type NetworkPlace } from '#src/diagnose/known-network.ts';
import { judge, runChecks } from '#src/diagnose/run-checks.ts';
import { NftablesRuleset } from '#src/kernel/nftables-ruleset.ts';
import { RtnetlinkKernel } from '#src/kernel/rtnetlink-kernel.ts';
import { WireguardKernel } from '#src/kernel/wireguard-kernel.ts';
import type { FlagTable } from '#src/lib/go-flags.ts';
import { FLANNELD_FLAGS, type FlanneldOptions } from '#src/node/flanneld-flags.ts';
import { artefactsOf, type NetworkId, namedNetwork, subnetFolder } from '#src/node/network-id.ts';
import { intentOptions } from '#src/node/network-options.ts';
import { registryOptions } from '#src/node/registry-options.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemCommands } from '#src/sys/command.ts';
import { systemFiles } from '#src/sys/files.ts';
import { systemFolders } from '#src/sys/folders.ts';
import { askHttp } from '#src/sys/http-question.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';
import { systemProcessList } from '#src/sys/process-list.ts';
import { systemRandom } from '#src/sys/random.ts';
import { systemUnixHttp } from '#src/sys/unix-http.ts';

/** Those by which a host is judged. */
const NODE_FLAGS = Object.fromEntries(
  (
    [
      'etcd-endpoints',
      'etcd-api',
      'etcd-username',
      'etcd-password',
      'etcd-cafile',
      'etcd-certfile',
      'etcd-keyfile',
      'subnet-file',
      'public-ip',
      'ip-masq',
      'iptables-forward-rules',
    ] as const
  ).map((name) => [name, FLANNELD_FLAGS[name]]),
) satisfies FlagTable;

/** `weft doctor`: 0 nothing is wrong, 1 something is, 2 something could not be looked at. */
export const DOCTOR = lookCommand({
  name: 'doctor',
  takes: '',
  help: [
    '  What is wrong with the network on this host, and what mends it. It changes nothing. Flags that are not given are those',
    '  of the flanneld that runs here; where none runs, those that flanneld.service would give it.',
    '  Exit code: 0 nothing is wrong, 1 something is wrong, 2 something could not be looked at.',
  ],
  flags: CHECK_FLAGS,
  nodeFlags: NODE_FLAGS,
  asRunning: true,
  async run({ options, id }, { output, screen, signal }) {
    const all = [...CHECKS, ...INSTALLATION_CHECKS];
    assertChecks(options.only, all, 'doctor');
    const checks = chosen(options.only, CHECKS);
    const ofInstallation = chosen(options.only, INSTALLATION_CHECKS);
    if (options.list) {
      listChecks(chosen(options.only, all), options.json, output);
      return 0;
    }
    const kernel = new RtnetlinkKernel({ netlink: systemNetlink });
    const wireguard = new WireguardKernel({ netlink: systemNetlink, clock: systemClock });
    try {
      const places = await placesOf(options, id);
      const components = systemComponents(kernel, wireguard);
      const judged = diagnoseOptions(options, id);
      const diagnoses: NetworkDiagnosis[] = [];
      for (const place of places) {
        const facts = await readHostFacts(components, place, optionsAt(place, judged, id), signal);
        diagnoses.push({ facts, ...runChecks(facts, checks) });
      }
      // After the networks: to look at all files of a package takes as long as the rest, and flanneld would wait for answers.
      const installed = ofInstallation.length > 0 ? await lookAtInstallation(options) : undefined;
      const installation = installed && { facts: installed, ...judge(installed, ofInstallation) };
      const totals = totalsOf(diagnoses, installation);
      if (options.json) output.print(JSON.stringify(jsonOf(diagnoses, totals, installation), undefined, 2));
      else for (const line of formatDiagnoses(diagnoses, screen, installation)) output.print(line);
      return totals.wrong > 0 ? 1 : totals.unknown > 0 ? 2 : 0;
    } finally {
      kernel.close();
      wireguard.close();
    }
  },
});

const systemComponents = (
  kernel: DiagnoseComponents['kernel'],
  wireguard: WireguardKernel,
): DiagnoseComponents => ({
  kernel,
  reports: (device) => wireguard.reports(device),
  ruleset: new NftablesRuleset({ netlink: systemNetlink, clock: systemClock }),
  commands: systemCommands,
  files: systemFiles,
  folders: systemFolders,
  clock: systemClock,
  random: systemRandom,
  processes: systemProcessList,
  ask: askHttp,
  http: systemUnixHttp,
});

/** The network that was asked for; without one all that have a socket or a state file here. */
async function placesOf(options: FlanneldOptions, id: NetworkId | undefined): Promise<NetworkPlace[]> {
  const own = artefactsOf(id ?? { prefix: options.etcdPrefix }, options);
  if (id !== undefined) return [own];
  const sockets = await socketsOf({ folders: systemFolders }, { options, id });
  const bases = new Set(
    [...sockets, ...(await stateFiles(options.stateDir))].map((path) => path.replace(/\.(sock|json)$/, '')),
  );
  const others = [...bases].filter((base) => `${base}.sock` !== own.socket);
  const places = await Promise.all(others.map((base) => placeAt(base, options)));
  const files = await systemFolders.list(options.stateDir).catch((): string[] => []);
  const isHere = files.some((name) => join(options.stateDir, name) === own.stateFile);
  const answers = (await askDaemon(own)).state !== 'stopped';
  // A host that serves another prefix alone has nothing under the default one.
  return isHere || answers || places.length === 0 ? [own, ...places] : places;
}

const stateFiles = async (folder: string): Promise<string[]> =>
  (await systemFolders.list(folder).catch((): string[] => []))
    .filter((name) => /^network-[0-9a-f]{12}\.json$/.test(name))
    .map((name) => join(folder, name));

/** A network that is known by its files alone. Its name, which says where its subnet.env is, the daemon knows. */
async function placeAt(base: string, options: FlanneldOptions): Promise<NetworkPlace> {
  const socket = `${base}.sock`;
  const answer = await askDaemon({ socket });
  const name = answer.state === 'running' ? answer.status.name : undefined;
  const subnetFile = name === undefined ? options.subnetFile : join(subnetFolder(options), `${name}.env`);
  return { socket, stateFile: `${base}.json`, subnetFile, ...(name !== undefined && { label: name }) };
}

function diagnoseOptions(options: FlanneldOptions, id: NetworkId | undefined): DiagnoseOptions {
  const registry = registryOptions(options);
  return {
    ...intentOptions(options),
    registry: { ...registry, prefix: id?.prefix ?? registry.prefix },
    publicIp: options.publicIp,
    publicIpv6: options.publicIpv6,
    leaseTtlMs: options.leaseTtl,
  };
}

/** One of several networks of a daemon has its config below the daemon's prefix. */
function optionsAt(
  { label }: NetworkPlace,
  options: DiagnoseOptions,
  id: NetworkId | undefined,
): DiagnoseOptions {
  const { registry } = options;
  if (label === undefined || id !== undefined) return options;
  return { ...options, registry: { ...registry, prefix: namedNetwork(registry.prefix, label).prefix } };
}

/** What `--json` prints. */
function jsonOf(
  diagnoses: readonly NetworkDiagnosis[],
  totals: Totals,
  installation: InstallationDiagnosis | undefined,
): unknown {
  const networks = diagnoses.map(({ facts, findings, consequences, unknown, checks }) => ({
    ...(facts.place.label !== undefined && { name: facts.place.label }),
    daemon: facts.daemon.state,
    ...(facts.network.kind === 'known' && { source: facts.network.value.source }),
    checks,
    findings: findings.map((finding) => ({ ...finding, docs: docsOf(finding.id) })),
    consequences,
    unknown,
  }));
  return {
    ...totals,
    networks,
    ...(installation && { installation: installationJson(installation.facts, installation) }),
  };
}
