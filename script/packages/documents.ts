import { MAINTAINER, packageVersion } from './facts.ts';

/** The copyright file of a deb, in Debian's machine-readable form (copyright-format 1.0). */
export function copyrightOf(license: string): string {
  if (!license.includes('Apache License')) throw new Error('LICENSE is not the Apache License');
  return `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: weft

Files: *
Copyright: 2026 The weft authors
License: Apache-2.0
 On Debian systems the full text of the license is in /usr/share/common-licenses/Apache-2.0.
Comment: /usr/bin/weft contains Node.js with the libraries that it is built from, and the npm packages that the
 release's bill of materials (sbom.cdx.json) lists, each under its own license; "weft version --json" names them.
`;
}

/** The newest section of CHANGELOG.md as an entry of a deb's changelog (deb-changelog(5)); `date` in seconds since 1970. */
export function changelogOf(text: string, { version, date }: { version: string; date: number }): string {
  const [, newest = ''] = text.split(/^## .*$/m);
  const points = newest
    .split(/^- /m)
    .slice(1)
    .map((point) => wrapped(point.trim().split(/\s+/)));
  if (points.length === 0) throw new Error('CHANGELOG.md has no section with points');
  const when = new Date(date * 1000).toUTCString().replace('GMT', '+0000');
  return `weft (${packageVersion(version)}) unstable; urgency=medium\n\n${points.join('\n')}\n\n -- ${MAINTAINER}  ${when}\n`;
}

/** The lines of one point, at most 80 characters long where words allow. */
function wrapped(words: readonly string[]): string {
  const lines = ['  *'];
  for (const word of words) {
    const line = `${lines.at(-1)} ${word}`;
    if (line.length <= 80) lines[lines.length - 1] = line;
    else lines.push(`    ${word}`);
  }
  return lines.join('\n');
}
