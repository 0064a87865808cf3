import { writeFileSync } from 'node:fs';
import { flagsPage } from '#src/cli/flanneld-help.ts';
import { metricsPage } from '#src/observe/metrics.ts';
import { dashboard } from './dashboard.ts';

const PAGES: Readonly<Record<string, string>> = { flags: flagsPage(), metrics: metricsPage() };
for (const [name, text] of Object.entries(PAGES)) {
  writeFileSync(new URL(`../docs/reference/${name}.md`, import.meta.url), text);
}
writeFileSync(new URL('../packaging/grafana/weft-dashboard.json', import.meta.url), dashboard());
