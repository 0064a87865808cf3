import type { Check } from '#src/diagnose/check.ts';
import { CHECKS } from '#src/diagnose/checks.ts';
import { INSTALLATION_CHECKS } from '#src/diagnose/installation-checks.ts';

const INTRODUCTION = `# Checks

What \`weft doctor\` looks at, in the order in which it says what is wrong ([how to use it](../guides/doctor.md)). The ids are stable.
A finding leaves out what it causes: where the device is missing, nothing is said of its routes. This page is made from
\`src/diagnose/checks/\` by \`script/generate-docs\`.
`;

const INSTALLATION = `# What is installed

\`weft self-check\` looks at these and at [docker-json](#docker-json), and \`weft doctor\` at all. They need no network: they say
what is wrong with files, rights, units and certificates before the first start, too.
`;

/** The text of docs/reference/checks.md. */
export function checksPage(): string {
  return [INTRODUCTION, ...CHECKS.map(section), INSTALLATION, ...INSTALLATION_CHECKS.map(section)].join('\n');
}

function section({ id, title, why, causes, lastResort }: Omit<Check, 'look'>): string {
  const links = [...new Set(causes)].map((cause) => `[${cause}](#${cause})`);
  return [
    `## ${id}`,
    '',
    `${title.charAt(0).toUpperCase()}${title.slice(1)}. ${why}`,
    ...(links.length > 0 ? ['', `Leaves out: ${links.join(', ')}.`] : []),
    ...(lastResort ? ['', 'Said only when no other check finds anything.'] : []),
    '',
  ].join('\n');
}
