import { inTone, type Screen } from '#src/cli/screen.ts';
import { docsOf } from '#src/diagnose/check.ts';
import type { HostFacts } from '#src/diagnose/host-facts.ts';
import type { InstallationFacts } from '#src/diagnose/installation/installation.ts';
import type { CheckFinding, Diagnosis } from '#src/diagnose/run-checks.ts';
import { formatPrefix } from '#src/lib/ip.ts';

/** What was found of one network, with the facts that it was found in. */
export interface NetworkDiagnosis extends Diagnosis {
  readonly facts: Pick<HostFacts, 'place' | 'network' | 'daemon'>;
}

/** What was found of what is installed on the host. */
export interface InstallationDiagnosis extends Diagnosis {
  readonly facts: InstallationFacts;
}

export interface Totals {
  readonly checks: number;
  readonly wrong: number;
  readonly unknown: number;
}

/** `installation`: where it was looked at. */
export const totalsOf = (diagnoses: readonly NetworkDiagnosis[], installation?: Diagnosis): Totals => {
  const all: readonly Diagnosis[] = installation ? [...diagnoses, installation] : diagnoses;
  return {
    checks: all.reduce((sum, { checks }) => sum + checks, 0),
    wrong: newFindings(diagnoses).flat().length + (installation?.findings.length ?? 0),
    unknown: all.reduce((sum, { unknown }) => sum + unknown.length, 0),
  };
};

/** The findings of each network; what is wrong with the host is said with the first. */
function newFindings(diagnoses: readonly NetworkDiagnosis[]): CheckFinding[][] {
  const said = new Set<string>();
  return diagnoses.map(({ findings }) =>
    findings.filter(({ id, what }) => {
      const key = `${id} ${what}`;
      if (said.has(key)) return false;
      said.add(key);
      return true;
    }),
  );
}

/** What `weft doctor` prints: the most important first, and a last line that counts. */
export function formatDiagnoses(
  diagnoses: readonly NetworkDiagnosis[],
  screen: Pick<Screen, 'hasColour' | 'width'>,
  installation?: InstallationDiagnosis,
): string[] {
  const findings = newFindings(diagnoses);
  const { checks, wrong, unknown } = totalsOf(diagnoses, installation);
  const reasons = new Map<string, string[]>();
  for (const { id, why } of [...diagnoses, ...(installation ? [installation] : [])].flatMap(
    (it) => it.unknown,
  ))
    reasons.set(why, [...(reasons.get(why) ?? []), id]);
  const counted = `${checks} checks, ${wrong} wrong, ${unknown} could not look`;
  return [
    ...diagnoses.flatMap((diagnosis, n) => [
      inTone(titleOf(diagnosis), 'title', screen.hasColour),
      ...(findings[n] ?? []).flatMap((finding) => [...linesOf(finding, screen), '']),
    ]),
    // Said where there is something to say.
    ...(installation === undefined || installation.findings.length === 0
      ? []
      : [
          inTone(installedTitle(installation.facts), 'title', screen.hasColour),
          ...installation.findings.flatMap((finding) => [...linesOf(finding, screen), '']),
        ]),
    ...Array.from(
      reasons,
      ([why, ids]) => `could not look: ${ids.length > 4 ? `${ids.length} checks` : ids.join(', ')}: ${why}`,
    ),
    inTone(counted, wrong > 0 ? 'bad' : unknown > 0 ? 'warning' : 'good', screen.hasColour),
  ];
}

/** What `weft self-check` prints. */
export function formatInstallation(
  { facts, checks, findings, unknown }: InstallationDiagnosis,
  screen: Pick<Screen, 'hasColour' | 'width'>,
): string[] {
  const { filters } = facts;
  const counted = `${checks} checks, ${findings.length} wrong, ${unknown.length} could not look`;
  const tone = findings.length > 0 ? 'bad' : unknown.length > 0 ? 'warning' : 'good';
  return [
    inTone(installedTitle(facts), 'title', screen.hasColour),
    ...findings.flatMap((finding) => [...linesOf(finding, screen), '']),
    ...unknown.map(({ id, why }) => `could not look: ${id}: ${why}`),
    ...(filters.length > 0 ? [`rules are set with ${filters.join(' or ')}`] : []),
    inTone(counted, tone, screen.hasColour),
  ];
}

function installedTitle({ version, installed, package: owner }: InstallationFacts): string {
  const from =
    owner.kind === 'known'
      ? `${owner.value.manager} package ${owner.value.name} ${owner.value.version}`
      : installed.as;
  return `installed: weft ${version}, ${from}, ${installed.path}`;
}

const SOURCES = {
  daemon: 'flanneld answers',
  'state-file': 'flanneld does not answer: from its state file',
  'subnet-file': 'flanneld does not answer: from subnet.env',
} as const;

function titleOf({ facts: { place, network } }: NetworkDiagnosis): string {
  const name = place.label === undefined ? '' : ` ${place.label}`;
  if (network.kind !== 'known') return `network${name}: not known on this host`;
  const { network: range, subnet, source } = network.value;
  return `network${name} ${formatPrefix(range)}, this host's subnet ${formatPrefix(subnet)} (${SOURCES[source]})`;
}

function linesOf(
  { id, what, why, remedy }: CheckFinding,
  { hasColour, width }: Pick<Screen, 'hasColour' | 'width'>,
): string[] {
  const [first = '', ...rest] = wrapped(`${id}: ${what}`, width - INDENT.length);
  return [
    `${inTone('✗', 'bad', hasColour)} ${inTone(id, 'bad', hasColour)}${first.slice(id.length)}`,
    ...rest.map((line) => INDENT + line),
    ...wrapped(why, width - INDENT.length - HANG.length).map(
      (line, n) => INDENT + (n === 0 ? 'why:  ' : HANG) + line,
    ),
    // In one piece, to be copied.
    `${INDENT}mend: ${remedy}`,
    `${INDENT}more: ${docsOf(id)}`,
  ];
}

const INDENT = '  ';
/** As wide as `why:  `. */
const HANG = ' '.repeat(6);

/** The text in lines, broken at blanks; a longer word stays whole. */
function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
