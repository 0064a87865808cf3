import { writeFileSync } from 'node:fs';
import { flagsPage } from '#src/cli/flags-page.ts';

writeFileSync(new URL('../docs/reference/flags.md', import.meta.url), flagsPage());
