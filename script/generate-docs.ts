import { readFileSync, writeFileSync } from 'node:fs';
import { checksPage } from '#src/cli/checks-page.ts';
import { flagsPage } from '#src/cli/flanneld-help.ts';
import { metricsPage } from '#src/observe/metrics.ts';
import { openApiText, withPathTable } from '#src/observe/openapi.ts';
import { dashboard } from './dashboard.ts';
import { withPayloadTable } from './packages/payload-table.ts';

const urlOf = (name: string): URL => new URL(`../docs/reference/${name}`, import.meta.url);

const PAGES: Readonly<Record<string, string>> = {
  'checks.md': checksPage(),
  'flags.md': flagsPage(),
  'metrics.md': metricsPage(),
  'openapi.json': openApiText(),
  'local-api.md': withPathTable(readFileSync(urlOf('local-api.md'), 'utf8')),
  'packages.md': withPayloadTable(readFileSync(urlOf('packages.md'), 'utf8')),
};
for (const [name, text] of Object.entries(PAGES)) writeFileSync(urlOf(name), text);
writeFileSync(new URL('../packaging/grafana/weft-dashboard.json', import.meta.url), dashboard());
