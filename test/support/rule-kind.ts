import { Differences } from '#src/state/differences.ts';
import { kindOf } from '#src/state/kind.ts';

/** A rule of `ip rule`: packets with a mark go by another table. The first of two files of a kind that weft does not have. */
export interface Rule {
  readonly kind: 'rule';
  readonly priority: number;
  readonly mark: number;
  readonly table: number;
}

const format = ({ priority, mark, table }: Rule): string =>
  `fwmark ${mark} table ${table} priority ${priority}`;

export const RULE = kindOf<Rule>({
  name: 'rule',
  rank: 6,
  key: ({ priority }) => `rule ${priority}`,
  sharesSlot: (a, b) => a.priority === b.priority,
  hash: ({ priority }) => priority,
  differences: (wanted, found) =>
    new Differences().field('fwmark', wanted.mark, found.mark).field('table', wanted.table, found.table)
      .texts,
  // The kernel has no replace for rules: it would add another one of the same priority.
  operations: (wanted, found) => [
    ...(found === undefined ? [] : [{ verb: 'remove' as const, object: found }]),
    { verb: 'add', object: wanted },
  ],
  deviceOf: () => undefined,
  format,
  command: (verb, rule) => `ip rule ${verb === 'remove' ? 'del' : verb} ${format(rule)}`,
});
