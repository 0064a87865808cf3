import type { FoundVariables } from '#src/cli/import-flannel/unit-environment.ts';
import { addEnvironment, parseFlags } from '#src/lib/go-flags.ts';
import { listOf, type UnitText } from '#src/lib/unit-file.ts';
import { replaceVariables, unitCommands } from '#src/lib/unit-words.ts';
import { ENVIRONMENT_PREFIX, FLANNELD_FLAGS } from '#src/node/flanneld-flags.ts';

/**
 * The drop-in of flanneld's unit for hosts with the fast path. The same as the file weft-fast-path.conf in packaging/systemd/, which has
 * the reasons.
 */
export const FAST_PATH_DROP_IN = `[Service]
CapabilityBoundingSet=CAP_BPF CAP_PERFMON
SystemCallFilter=bpf
`;

/** Whether the unit starts flanneld with `--fast-path=on`: by a word of its command line, or by a variable. */
export function asksForFastPath(flanneld: readonly UnitText[], variables: FoundVariables): boolean {
  const environment = Object.fromEntries(Array.from(variables, ([name, { value }]) => [name, value]));
  return listOf(flanneld, { section: 'Service', key: 'ExecStart' }).some(({ value }) =>
    unitCommands(value).some(({ program, words }) => {
      if (!/(^|\/)flanneld$/.test(program)) return false;
      const parsed = parseFlags(FLANNELD_FLAGS, replaceVariables(words, environment));
      // With words that it does not know, flanneld does not start.
      if (parsed.outcome !== 'parsed') return false;
      const { given } = addEnvironment(FLANNELD_FLAGS, parsed.given, ENVIRONMENT_PREFIX, environment);
      return given.get('fast-path') === 'on';
    }),
  );
}
