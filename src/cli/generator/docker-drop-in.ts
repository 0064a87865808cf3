import { listOf, type UnitText } from '#src/lib/unit-file.ts';
import { type UnitCommand, unitCommands } from '#src/lib/unit-words.ts';

export interface DockerUnits {
  /** docker.service of this host, with its drop-ins. */
  readonly docker: readonly UnitText[];
  /** flanneld.service, with its drop-ins. */
  readonly flanneld: readonly UnitText[];
  /** `FLANNELD_DOCKER_FWMARK` of flanneld's settings, where it is there. */
  readonly fwmark?: string;
}

export interface DropIn {
  /** The drop-in; `undefined` where Docker can't be given options in this way. */
  readonly text: string | undefined;
  /** What it lacks and why, one line each. */
  readonly notes: readonly string[];
}

/** Where flanneld's unit puts Docker's options, and their variable. */
const OPTIONS_FILE = '/run/flannel/docker';
const VARIABLE = 'DOCKER_NETWORK_OPTIONS';
const SERVICE = (key: string) => ({ section: 'Service', key });

/**
 * A drop-in for docker.service with which dockerd starts on flannel's subnet: what
 * packaging/systemd/docker.service.d/flannel.conf says, with the command line that Docker's unit has on this host. What
 * a drop-in made by hand says already is not said twice.
 */
export function dockerDropIn({ docker, flanneld, fwmark }: DockerUnits): DropIn {
  const writer = optionsCommand(flanneld);
  if (writer === undefined) {
    const [{ source } = { source: 'flanneld.service' }] = flanneld;
    return {
      text: undefined,
      notes: [`docker.service is left as it is: ${source} does not write ${OPTIONS_FILE}`],
    };
  }
  const { lines, notes } = startLines(docker);
  const service = [...readsOptions(docker), ...asksAgain(docker, writer, fwmark), ...lines];
  const text = `# Made by weft-generator, because flanneld.service is enabled.
[Unit]
# Wants, not Requires: a restart of flanneld must not restart Docker and every container.
Wants=flanneld.service
After=flanneld.service
${service.length === 0 ? '' : `\n[Service]\n${service.join('\n')}\n`}`;
  return { text, notes };
}

/** The command of flanneld's unit that writes Docker's options: the same is asked before each start of Docker. */
function optionsCommand(flanneld: readonly UnitText[]): string | undefined {
  for (const { value } of listOf(flanneld, SERVICE('ExecStartPost'))) {
    const [command] = unitCommands(value);
    if (command === undefined || !/(^|\/)mk-docker-opts(\.sh)?$/.test(command.program)) continue;
    if (command.words.includes(OPTIONS_FILE) && command.words.includes(VARIABLE))
      return value.slice(command.marks.length);
  }
  return undefined;
}

function readsOptions(docker: readonly UnitText[]): string[] {
  const files = listOf(docker, SERVICE('EnvironmentFile'));
  if (files.some(({ value }) => value === OPTIONS_FILE)) return [];
  return [
    '# Without a dash: on the wrong subnet Docker would be worse than not started, and the reason is in the journal.',
    `EnvironmentFile=${OPTIONS_FILE}`,
  ];
}

function asksAgain(docker: readonly UnitText[], writer: string, fwmark: string | undefined): string[] {
  const before = listOf(docker, SERVICE('ExecStartPre'));
  if (before.some(({ value }) => /mk-docker-opts.*-d\s*\/run\/flannel\/docker(\s|$)/.test(value))) return [];
  return [
    '# Asked once more, for this dockerd may be a later version than the one that was there when flanneld started.',
    ...(fwmark === undefined ? [] : [`Environment=FLANNELD_DOCKER_FWMARK=${fwmark}`]),
    `ExecStartPre=-env -u ${VARIABLE} ${writer}`,
  ];
}

/** `ExecStart=` as it is in force, with the variable at the end of dockerd's line. */
function startLines(docker: readonly UnitText[]): {
  readonly lines: readonly string[];
  readonly notes: readonly string[];
} {
  const starts = listOf(docker, SERVICE('ExecStart'));
  if (starts.some(({ value }) => /\$\{?DOCKER_NETWORK_OPTIONS\b/.test(value)))
    return { lines: [], notes: [] };
  const isDockerd = ({ value }: { readonly value: string }): boolean => unitCommands(value).some(runsDockerd);
  const [only, ...others] = starts;
  // A wrapper of the distribution's takes dockerd's words too.
  const start = starts.find(isDockerd) ?? (others.length === 0 ? only : undefined);
  if (start === undefined) return { lines: [], notes: ['docker.service has no ExecStart= for dockerd'] };
  const [command] = unitCommands(start.value);
  if (command === undefined || command.marks.includes(':') || isShell(command)) {
    const note = `${start.source}: write $${VARIABLE} into its ExecStart= yourself, it can't be added at the end of this line`;
    return { lines: [], notes: [note] };
  }
  const lines = starts.map((one) => `ExecStart=${one.value}${one === start ? ` $${VARIABLE}` : ''}`);
  const from = `# The line of ${start.source}, with the overlay's options.`;
  return { lines: [from, 'ExecStart=', ...lines], notes: [] };
}

const runsDockerd = ({ program, words }: UnitCommand): boolean =>
  /(^|\/)dockerd[^/]*$/.test(program) || (/(^|\/)docker$/.test(program) && words[0] === 'daemon');

const isShell = ({ program }: UnitCommand): boolean => /(^|\/)(ba|da|z|k|a)?sh$/.test(program);
