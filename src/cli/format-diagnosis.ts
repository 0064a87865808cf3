import { inTone, type Screen } from '#src/cli/screen.ts';
import { docsOf } from '#src/diagnose/check.ts';
import type { HostFacts } from '#src/diagnose/host-facts.ts';
import type { CheckFinding, Diagnosis } from '#src/diagnose/run-checks.ts';
import { formatPrefix } from '#src/lib/ip.ts';

/** What was found of one network, with the facts that it was found in. */
export interface NetworkDiagnosis extends Diagnosis {
  readonly facts: Pick<HostFacts, 'place' | 'network' | 'daemon'>;
}

export interface Totals {
  readonly checks: number;
  readonly wrong: number;
  readonly unknown: number;
}

export const totalsOf = (diagnoses: readonly NetworkDiagnosis[]): Totals => ({
  checks: diagnoses.reduce((sum, { checks }) => sum + checks, 0),
  wrong: newFindings(diagnoses).flat().length,
  unknown: diagnoses.reduce((sum, { unknown }) => sum + unknown.length, 0),
});

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
  screen: Pick<Screen, 'hasColour'>,
): string[] {
  const findings = newFindings(diagnoses);
  const { checks, wrong, unknown } = totalsOf(diagnoses);
  const reasons = new Map<string, string[]>();
  for (const { id, why } of diagnoses.flatMap((it) => it.unknown))
    reasons.set(why, [...(reasons.get(why) ?? []), id]);
  const counted = `${checks} checks, ${wrong} wrong, ${unknown} could not look`;
  return [
    ...diagnoses.flatMap((diagnosis, n) => [
      inTone(titleOf(diagnosis), 'title', screen.hasColour),
      ...(findings[n] ?? []).flatMap((finding) => [...linesOf(finding, screen), '']),
    ]),
    ...Array.from(
      reasons,
      ([why, ids]) => `could not look: ${ids.length > 4 ? `${ids.length} checks` : ids.join(', ')}: ${why}`,
    ),
    inTone(counted, wrong > 0 ? 'bad' : unknown > 0 ? 'warning' : 'good', screen.hasColour),
  ];
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

const linesOf = (
  { id, what, why, remedy }: CheckFinding,
  { hasColour }: Pick<Screen, 'hasColour'>,
): string[] => [
  `${inTone('✗', 'bad', hasColour)} ${inTone(id, 'bad', hasColour)}: ${what}`,
  `  why:  ${why}`,
  `  mend: ${remedy}`,
  `  more: ${docsOf(id)}`,
];
