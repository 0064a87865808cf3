import { type Conversion, convertCall } from '#src/cli/import-flannel/convert-call.ts';
import { dockerNotes } from '#src/cli/import-flannel/docker-notes.ts';
import { type FoundFlannel, findFlannels } from '#src/cli/import-flannel/find-calls.ts';
import { WeftError } from '#src/lib/errors.ts';
import { listOf } from '#src/lib/unit-file.ts';
import type { UnitReader } from '#src/sys/read-unit.ts';

export interface ImportedFlannel extends Conversion {
  /** The unit, or the file where there is no unit. */
  readonly name: string;
  /** The files of the unit, its drop-ins too. */
  readonly files: readonly string[];
  /** What to do before weft's flanneld takes its place, in this order. */
  readonly before: readonly string[];
  /** What Docker's side has of flannel. */
  readonly docker: readonly string[];
}

/**
 * The settings of the flannel that is installed on this host; `undefined` where there is none. Nothing is changed.
 *
 * @throws WeftError `import-kubernetes` where flannel's leases are Kubernetes', `import-unit` where the named unit starts no flannel
 */
export async function importFlannel(
  reader: UnitReader,
  unit: string | undefined,
): Promise<ImportedFlannel | undefined> {
  const { flannels, dropIns } = await findFlannels(reader);
  const chosen = chosenOf(flannels, unit);
  if (chosen === undefined) {
    await refuseKubernetes(reader);
    return undefined;
  }
  const conversion = convertCall(chosen.call);
  const others = flannels.filter((one) => one !== chosen);
  return {
    ...conversion,
    name: chosen.name,
    files: chosen.unit?.texts.map(({ source }) => source) ?? [chosen.name],
    notes: [
      ...conversion.notes,
      ...networkConfigNotes(chosen),
      ...others.map(({ name }) => `${name} starts a flannel too: convert it with --unit=${name}`),
    ],
    before: [
      ...beforeNotes(chosen),
      ...dropIns.map(({ source }) => `${source} changes weft's unit, which has the same name: remove it`),
    ],
    docker: await dockerNotes(reader),
  };
}

function chosenOf(flannels: readonly FoundFlannel[], unit: string | undefined): FoundFlannel | undefined {
  if (unit === undefined) return flannels[0];
  const name = unit.includes('.') ? unit : `${unit}.service`;
  const found = flannels.find((flannel) => flannel.name === name);
  if (found !== undefined) return found;
  const known = flannels.map((flannel) => flannel.name).join(', ');
  throw new WeftError('import-unit', `the unit ${name} starts no flannel on this host`, {
    remedy: known === '' ? 'no unit does' : `these do: ${known}`,
  });
}

/** flannel in pods: the manifest has a ConfigMap with net-conf.json, which is mounted in /etc/kube-flannel. */
async function refuseKubernetes({ files, folders }: UnitReader): Promise<void> {
  const manifests = (await folders.list('/etc/kubernetes/manifests')).filter((name) =>
    name.includes('flannel'),
  );
  const places = [
    ...manifests.map((name) => `/etc/kubernetes/manifests/${name}`),
    '/etc/kube-flannel/net-conf.json',
    '/etc/cni/net.d/10-flannel.conflist',
    '/etc/cni/net.d/10-flannel.conf',
  ];
  for (const place of places) {
    if ((await files.read(place)) === undefined) continue;
    throw new WeftError(
      'import-kubernetes',
      `flannel runs under Kubernetes here (${place}) and takes its leases from it, and weft can not do that yet`,
      { remedy: 'leave flannel in place' },
    );
  }
}

function beforeNotes({ name, unit }: FoundFlannel): string[] {
  if (unit === undefined) return [];
  const stop = `systemctl disable --now ${name}: packets are forwarded meanwhile`;
  if (name !== 'flanneld.service') return [stop];
  const [{ source }] = unit.texts;
  const dropIns = unit.texts.slice(1).map((text) => text.source);
  const isOfAdministrator = source.startsWith('/etc/');
  const away = isOfAdministrator
    ? `rm ${source}: it hides weft's unit, which has the same name`
    : `remove flannel's package, or what has installed ${source}: weft's unit has the same name`;
  return [
    stop,
    away,
    ...dropIns.map((dropIn) => `rm ${dropIn}: it would change weft's unit`),
    'systemctl daemon-reload',
  ];
}

/** Units of CoreOS write the network config into etcd before each start. */
function networkConfigNotes({ unit }: FoundFlannel): string[] {
  if (unit === undefined) return [];
  return listOf(unit.texts, { section: 'Service', key: 'ExecStartPre' }).flatMap(({ value, source }) =>
    /etcdctl\b.*\b(set|mk|put)\b/.test(value)
      ? [
          `${source} writes the network config into etcd before each start: it is there already, and weft's unit does not write it`,
        ]
      : [],
  );
}
