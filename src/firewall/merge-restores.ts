/**
 * Inputs of `iptables-restore --noflush` as one, each table in one step; `undefined` where they must stay apart. Inputs that
 * only add may go together: each has chains of its own, and a jump of one does not move what another one's comes before. A
 * removal names a rule by its place or its text as it was, and is refused with all that is in its table.
 */
export function mergeRestores(inputs: readonly string[]): string | undefined {
  const tables = new Map<string, { readonly declare: string[]; readonly add: string[] }>();
  for (const input of inputs) {
    let name = '';
    for (const line of input.split('\n')) {
      if (line.startsWith('*')) name = line;
      const table = tables.get(name) ?? { declare: [], add: [] };
      if (name !== '') tables.set(name, table);
      if (line.startsWith(':')) table.declare.push(line);
      else if (/^-[AI] /.test(line)) table.add.push(line);
      else if (line !== '' && line !== name && line !== 'COMMIT') return undefined;
    }
  }
  return Array.from(tables, ([name, { declare, add }]) =>
    [name, ...declare, ...add, 'COMMIT', ''].join('\n'),
  ).join('');
}
