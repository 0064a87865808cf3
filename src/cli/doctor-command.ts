import { join } from 'node:path';
import { socketsOf } from '#src/cli/ask-networks.ts';
import { formatDiagnoses, type NetworkDiagnosis, totalsOf } from '#src/cli/format-diagnosis.ts';
import { lookCommand } from '#src/cli/look-command.ts';
import { docsOf } from '#src/diagnose/check.ts';
import { CHECKS } from '#src/diagnose/checks.ts';
import { type DiagnoseComponents, type DiagnoseOptions, readHostFacts } from '#src/diagnose/host-facts.ts';
import { askDaemon, type NetworkPlace } from '#src/diagnose/known-network.ts';
import { runChecks } from '#src/diagnose/run-checks.ts';
import { NftablesRuleset } from '#src/kernel/nftables-ruleset.ts';
import { RtnetlinkKernel } from '#src/kernel/rtnetlink-kernel.ts';
import { WeftError } from '#src/lib/errors.ts';
import type { Flag, FlagTable } from '#src/lib/go-flags.ts';
import { didYouMean } from '#src/lib/nearest-word.ts';
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

const FLAGS = {
  list: {
    kind: 'bool',
    default: false,
    environment: false,
    description: 'list the checks, and look at nothing',
  },
  only: {
    kind: 'list',
    default: [],
    environment: false,
    description: 'run these checks alone: `ID,…`',
  },
} as const satisfies Readonly<Record<string, Flag>>;

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
  flags: FLAGS,
  nodeFlags: NODE_FLAGS,
  asRunning: true,
  async run({ options, id }, { output, screen, signal }) {
    const checks = chosen(options.only);
    if (options.list) {
      const width = Math.max(...checks.map((check) => check.id.length));
      if (options.json)
        output.print(
          JSON.stringify(
            checks.map(({ id, title, why }) => ({ id, title, why, docs: docsOf(id) })),
            undefined,
            2,
          ),
        );
      else for (const check of checks) output.print(`${check.id.padEnd(width)}  ${check.title}`);
      return 0;
    }
    const kernel = new RtnetlinkKernel({ netlink: systemNetlink });
    try {
      const places = await placesOf(options, id);
      const components = systemComponents(kernel);
      const judged = diagnoseOptions(options, id);
      const diagnoses: NetworkDiagnosis[] = [];
      for (const place of places) {
        const facts = await readHostFacts(components, place, optionsAt(place, judged, id), signal);
        diagnoses.push({ facts, ...runChecks(facts, checks) });
      }
      if (options.json) output.print(JSON.stringify(jsonOf(diagnoses), undefined, 2));
      else for (const line of formatDiagnoses(diagnoses, screen)) output.print(line);
      const { wrong, unknown } = totalsOf(diagnoses);
      return wrong > 0 ? 1 : unknown > 0 ? 2 : 0;
    } finally {
      kernel.close();
    }
  },
});

function chosen(only: readonly string[]): typeof CHECKS {
  if (only.length === 0) return CHECKS;
  const ids = CHECKS.map(({ id }) => id);
  const stranger = only.find((id) => !ids.includes(id));
  if (stranger !== undefined)
    throw new WeftError('usage', `there is no check ${stranger}`, {
      remedy: didYouMean(stranger, ids, '"weft doctor --list" lists them'),
      exitCode: 2,
    });
  return CHECKS.filter(({ id }) => only.includes(id));
}

const systemComponents = (kernel: DiagnoseComponents['kernel']): DiagnoseComponents => ({
  kernel,
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
function jsonOf(diagnoses: readonly NetworkDiagnosis[]): unknown {
  const networks = diagnoses.map(({ facts, findings, consequences, unknown, checks }) => ({
    ...(facts.place.label !== undefined && { name: facts.place.label }),
    daemon: facts.daemon.state,
    ...(facts.network.kind === 'known' && { source: facts.network.value.source }),
    checks,
    findings: findings.map((finding) => ({ ...finding, docs: docsOf(finding.id) })),
    consequences,
    unknown,
  }));
  return { ...totalsOf(diagnoses), networks };
}
