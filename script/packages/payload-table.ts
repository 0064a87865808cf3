import { PAYLOAD, type PayloadRow } from '../payload.ts';

const BEGIN = '<!-- The table is made by script/generate-docs. -->';
const END = '<!-- Here it ends. -->';

/** docs/reference/packages.md with its table of files as script/payload.ts has them. */
export function withPayloadTable(page: string): string {
  const [before = '', rest = ''] = page.split(BEGIN);
  const [, after = ''] = rest.split(END);
  const table = ['| file | from | what for | in |', '| --- | --- | --- | --- |', ...PAYLOAD.map(lineOf)];
  return `${before}${BEGIN}\n\n${table.join('\n')}\n\n${END}${after}`;
}

function lineOf({ to, kind, mode, from, about, takers }: PayloadRow): string {
  const place = to.endsWith('/') ? `\`${to}*\`` : `\`${to}\``;
  const marks = [
    ...(kind === 'conffile' ? ['conffile'] : []),
    ...(kind !== 'link' && mode !== 0o644 ? [mode.toString(8)] : []),
  ];
  const note = marks.length === 0 ? '' : ` (${marks.join(', ')})`;
  return `| ${place}${note} | ${originOf(from)} | ${about} | ${takers?.join(', ') ?? 'all'} |`;
}

function originOf(from: PayloadRow['from']): string {
  if ('target' in from) return `→ \`${from.target}\``;
  if ('release' in from) return `\`dist/linux-ARCHITECTURE/${from.release}\``;
  return 'checkout' in from ? `\`${from.checkout}\`` : 'made from the code';
}
