import { writeFileSync } from 'node:fs';
import { flagsPage } from '#src/cli/flanneld-help.ts';

writeFileSync(new URL('../docs/reference/flags.md', import.meta.url), flagsPage());
