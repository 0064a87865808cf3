import { join } from 'node:path';
import {
  type CallPlace,
  type FlanneldCall,
  flanneldCall,
  scriptOf,
  startsFlanneld,
} from '#src/cli/import-flannel/flanneld-call.ts';
import { unitEnvironment } from '#src/cli/import-flannel/unit-environment.ts';
import { parseEnvironmentFile } from '#src/lib/environment-file.ts';
import { lastOf, listOf, type UnitText } from '#src/lib/unit-file.ts';
import { unitCommands } from '#src/lib/unit-words.ts';
import { type FoundUnit, readUnit, UNIT_FOLDERS, type UnitReader } from '#src/sys/read-unit.ts';

/** A flannel that is installed on this host. */
export interface FoundFlannel {
  /** `flanneld.service`, or the file that it was found in where no unit starts it. */
  readonly name: string;
  readonly unit: FoundUnit | undefined;
  readonly call: FlanneldCall;
}

export interface FoundFlannels {
  /** The most likely one first: `flanneld.service`, then `flannel.service`, then by name. */
  readonly flannels: readonly FoundFlannel[];
  /** Drop-ins for weft's own unit that were made for flannel's of the same name. */
  readonly dropIns: readonly UnitText[];
}

const EXEC_START = { section: 'Service', key: 'ExecStart' };

/** Reads all units of this host, and without one that starts flannel the files that packages of flannel have. */
export async function findFlannels(reader: UnitReader): Promise<FoundFlannels> {
  const flannels: FoundFlannel[] = [];
  const dropIns: UnitText[] = [];
  for (const name of await candidates(reader)) {
    const unit = await readUnit(reader, name);
    if (unit === undefined) continue;
    if (isOurs(unit)) {
      dropIns.push(...unit.texts.slice(1).filter(({ text }) => setsProgram(text)));
      continue;
    }
    const call = await callOf(reader, unit);
    if (call !== undefined) flannels.push({ name, unit, call });
  }
  if (flannels.length === 0) flannels.push(...(await ofFiles(reader)));
  return { flannels, dropIns };
}

/** Services whose name or text has to do with flannel. */
async function candidates({ files, folders }: UnitReader): Promise<string[]> {
  const names = new Set<string>();
  for (const folder of UNIT_FOLDERS) {
    for (const entry of await folders.list(folder)) {
      if (entry.endsWith('.service.d') && entry.includes('flannel')) names.add(entry.slice(0, -2));
      if (!entry.endsWith('.service') || names.has(entry)) continue;
      // A link to nothing, or to a template.
      const text = await files.read(join(folder, entry)).catch(() => undefined);
      if (text?.includes('flannel')) names.add(entry);
    }
  }
  const rank = (name: string): number => ['flannel.service', 'flanneld.service'].indexOf(name);
  return [...names].sort((a, b) => rank(b) - rank(a) || (a < b ? -1 : 1));
}

/** weft's own unit, installed by hand or by a package. */
export const isOurs = ({ texts: [unit] }: FoundUnit): boolean => {
  const description = lastOf([unit], { section: 'Unit', key: 'Description' })?.value ?? '';
  return /\bweft\b/.test(description) || /^ExecStart=\S*\/weft\//m.test(unit.text);
};

const setsProgram = (text: string): boolean => /^\s*(ExecStart|EnvironmentFile|Environment)\s*=/m.test(text);

async function callOf(reader: UnitReader, { texts }: FoundUnit): Promise<FlanneldCall | undefined> {
  for (const { value, source } of listOf(texts, EXEC_START)) {
    for (const command of unitCommands(value)) {
      const script = await scriptOf(reader.files, command);
      if (!startsFlanneld(command, script)) continue;
      const { variables, notes } = await unitEnvironment(reader.files, texts);
      if (/mk-docker-opts/.test(variables.get('FLANNEL_IMAGE_ARGS')?.value ?? '')) continue;
      const call = await flanneldCall(reader.files, { command, source, variables });
      return { ...call, notes: [...notes, ...call.notes] };
    }
  }
  return undefined;
}

/**
 * Where flannel's settings are when its unit is gone, or is no systemd unit: Fedora's, CentOS' and RHEL's package (a removed
 * one leaves .rpmsave), CoreOS, and /etc/default of init scripts, upstart and guides for Debian and Ubuntu, with
 * names of their own or the rpm's.
 */
const FILES: readonly {
  readonly path: string;
  readonly program: string;
  readonly options: readonly string[];
}[] = [
  ...['/etc/sysconfig/flanneld', '/etc/sysconfig/flanneld.rpmsave'].map((path) => ({
    path,
    program: '/usr/bin/flanneld-start',
    options: ['FLANNEL_OPTIONS'],
  })),
  ...['/etc/flannel/options.env', '/run/flannel/options.env', '/etc/flannel/environment'].map((path) => ({
    path,
    program: '/usr/lib/coreos/flannel-wrapper',
    options: ['FLANNEL_OPTS'],
  })),
  ...['/etc/default/flannel', '/etc/default/flanneld'].map((path) => ({
    path,
    program: '/usr/bin/flanneld-start',
    options: ['FLANNEL_OPTS', 'FLANNELD_OPTS', 'FLANNEL_OPTIONS', 'DAEMON_ARGS'],
  })),
];

async function ofFiles({ files }: UnitReader): Promise<FoundFlannel[]> {
  for (const { path, program, options } of FILES) {
    const text = await files.read(path);
    if (text === undefined) continue;
    const parsed = parseEnvironmentFile(text);
    // weft's own, of an earlier version.
    if (parsed.has('FLANNELD_OPTIONS')) continue;
    const place: CallPlace = {
      command: {
        marks: '',
        program,
        words: options.filter((name) => parsed.has(name)).map((name) => `$${name}`),
      },
      source: path,
      variables: new Map([...parsed].map(([name, value]) => [name, { value, source: path }])),
    };
    const call = await flanneldCall({ read: async () => undefined }, place);
    if (call.words.length + call.variables.size > 0) return [{ name: path, unit: undefined, call }];
  }
  return [];
}
