import type { Conversion, Setting } from '#src/cli/import-flannel/convert-call.ts';
import { formatEnvironmentLine } from '#src/lib/environment-file.ts';
import { variableOf } from '#src/lib/go-flags.ts';
import { escapeControls } from '#src/lib/go-values.ts';
import { VERSION } from '#src/lib/version.ts';
import { ENVIRONMENT_PREFIX } from '#src/node/flanneld-flags.ts';

/** weft's unit starts `flanneld $FLANNELD_OPTIONS`. */
const OPTIONS = `${ENVIRONMENT_PREFIX}OPTIONS`;

/** The text of /etc/weft/flanneld.conf: one comment for what each setting was taken from, then what was not taken over. */
export function formatConfig({ settings, choices, notes }: Conversion): string {
  const asFlags = settings.filter(needsFlag);
  const lines = settings
    .filter((setting) => !asFlags.includes(setting))
    .flatMap(({ flag, values, source }) => [
      `# from ${source}`,
      formatEnvironmentLine(variableOf(ENVIRONMENT_PREFIX, flag), values[0] ?? ''),
    ]);
  const options = asFlags.flatMap(({ flag, values }) => values.map((value) => quoted(`--${flag}=${value}`)));
  return [
    `# Settings of the flannel of this host, converted by weft ${VERSION} import-flannel. Mode 0600: it may hold a password.`,
    '# Each flag of flanneld is a variable; what FLANNELD_OPTIONS says wins.',
    ...lines,
    ...asFlags.map(({ flag, source }) => `# --${flag} from ${source}`),
    formatEnvironmentLine(OPTIONS, options.join(' ')),
    ...[...choices, ...notes].map((note) => `# ${note}`),
    '',
  ]
    .map(oneLine)
    .join('\n');
}

/** A comment must not go on in the next line: neither by a line end nor by a backslash at its end. */
const oneLine = (line: string): string =>
  line.startsWith('#') ? escapeControls(line).replace(/\\+$/, '') : line;

/** A variable has one value, and an empty one counts as unset. */
const needsFlag = ({ values }: Setting): boolean => values.length !== 1 || values[0] === '';

/** A word of a value that systemd splits. */
const quoted = (word: string): string =>
  /^[A-Za-z0-9_@%+=:,./^*()|-]*$/.test(word) ? word : `"${word.replace(/["\\]/g, '\\$&')}"`;
