import { isSecretName } from '#src/diagnose/report/mask.ts';

/** The values of a command line's and an environment's secrets: `--etcd-password x`, `FLANNELD_ETCD_PASSWORD=x`. */
export function secretsIn(argv: readonly string[], environment: readonly string[]): string[] {
  const found: string[] = [];
  for (const [at, word] of argv.entries()) {
    const [, name = '', value] = /^-{1,2}([\w.-]+)(?:=(.*))?$/s.exec(word) ?? [];
    if (isSecretName(name)) found.push(value ?? argv[at + 1] ?? '');
    found.push(...passwordsOf(word));
  }
  for (const variable of environment) {
    const [, name = '', value = ''] = /^(\w+)=(.*)$/s.exec(variable) ?? [];
    if (isSecretName(name)) found.push(value);
    found.push(...passwordsOf(value));
  }
  return found.filter((value) => value !== '');
}

/** Of URLs: `http://user:password@host`. */
const passwordsOf = (text: string): string[] =>
  Array.from(text.matchAll(/:\/\/[^\s/:@]*:([^\s/]*)@/g), (match) => decoded(match[1] ?? ''));

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
