import { readFileSync } from 'node:fs';

const FOLDER = new URL('../../packaging/maintainer/', import.meta.url);

/** The scripts of each format, by the names that it has for them. */
export const MAINTAINER_SCRIPTS = {
  deb: ['postinst', 'prerm', 'postrm'],
  rpm: ['post', 'preun', 'postun', 'posttrans'],
} as const;
export type Format = keyof typeof MAINTAINER_SCRIPTS;

/** A maintainer script in full: the steps, and the cases of this one. */
export function maintainerScript(format: Format, name: string): string {
  const read = (path: string): string => readFileSync(new URL(path, FOLDER), 'utf8');
  return `#!/bin/sh\nset -e\n${read('steps.sh')}\n${read(`${format}/${name}`)}`;
}
