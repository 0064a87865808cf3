import { dockerDropIn } from '#src/cli/generator/docker-drop-in.ts';
import { DRIVER_DROP_INS } from '#src/cli/generator/driver-drop-ins.ts';
import { asksForFastPath, FAST_PATH_DROP_IN } from '#src/cli/generator/fast-path-drop-in.ts';
import { unitEnvironment } from '#src/cli/import-flannel/unit-environment.ts';
import { DOCKER_FWMARK_VARIABLE, parseDockerFwmark } from '#src/docker/docker-fwmark.ts';
import { enabledUnits, readUnit, type UnitReader } from '#src/sys/read-unit.ts';

export interface GeneratedUnits {
  /** Texts by their path below the generator's folder. */
  readonly files: ReadonlyMap<string, string>;
  /** What a user should know, one line each. */
  readonly notes: readonly string[];
}

/** After those of the host, by name: what these say is in force. */
const DROP_INS = {
  docker: 'zz-weft-flannel.conf',
  driver: 'zz-weft-driver.conf',
  fastPath: 'zz-weft-fast-path.conf',
} as const;

/**
 * The drop-ins that this host's units need, by what is enabled on it. Nothing is enabled: none but the rights that flanneld's own
 * settings ask for.
 */
export async function generateUnits(reader: UnitReader): Promise<GeneratedUnits> {
  const [flanneld, docker, socket] = await Promise.all([
    readUnit(reader, 'flanneld.service'),
    readUnit(reader, 'docker.service'),
    readUnit(reader, 'weft-docker.socket'),
  ]);
  const enabled = await enabledUnits(reader);
  const files = new Map<string, string>();
  const notes: string[] = [];
  const { variables } = await unitEnvironment(reader.files, flanneld?.texts ?? []);
  if (flanneld !== undefined && asksForFastPath(flanneld.texts, variables))
    files.set(
      `flanneld.service.d/${DROP_INS.fastPath}`,
      `# Made by weft-generator, because flanneld's settings have the fast path on.\n${FAST_PATH_DROP_IN}`,
    );
  if (docker !== undefined && flanneld !== undefined && enabled.has('flanneld.service')) {
    const fwmark = variables.get(DOCKER_FWMARK_VARIABLE)?.value ?? '';
    // One that flanneld refuses is not carried into Docker's unit: anything could be in it.
    const isMark = fwmark !== '' && 'mark' in parseDockerFwmark(fwmark);
    const made = dockerDropIn({
      docker: docker.texts,
      flanneld: flanneld.texts,
      ...(isMark && { fwmark }),
    });
    if (made.text !== undefined) files.set(`docker.service.d/${DROP_INS.docker}`, made.text);
    notes.push(...made.notes);
  }
  if (socket !== undefined && enabled.has('weft-docker.socket')) {
    for (const [unit, text] of Object.entries(DRIVER_DROP_INS)) {
      if (unit === 'docker.service' && docker === undefined) continue;
      files.set(
        `${unit}.d/${DROP_INS.driver}`,
        `# Made by weft-generator, because weft-docker.socket is enabled.\n${text}`,
      );
    }
  }
  return { files, notes };
}
