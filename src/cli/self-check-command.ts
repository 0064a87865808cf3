import { assertChecks, CHECK_FLAGS, chosen, listChecks } from '#src/cli/choose-checks.ts';
import { formatInstallation } from '#src/cli/format-diagnosis.ts';
import { lookAtInstallation } from '#src/cli/look-at-installation.ts';
import { lookCommand } from '#src/cli/look-command.ts';
import { docsOf } from '#src/diagnose/check.ts';
import type { InstallationFacts } from '#src/diagnose/installation/installation.ts';
import { SELF_CHECKS } from '#src/diagnose/installation-checks.ts';
import { type Diagnosis, judge } from '#src/diagnose/run-checks.ts';
import { FLANNELD_FLAGS } from '#src/node/flanneld-flags.ts';

/** `weft self-check`: 0 nothing is wrong, 1 something is, 2 something could not be looked at. */
export const SELF_CHECK = lookCommand({
  name: 'self-check',
  takes: '',
  help: [
    '  Whether what is installed on this host is right: files, rights, units, kernel, Docker, certificates. It changes nothing,',
    '  and works before the first start of flanneld, too. weft doctor says the same, and looks at the network as well.',
    '  Exit code: 0 nothing is wrong, 1 something is wrong, 2 something could not be looked at.',
  ],
  flags: CHECK_FLAGS,
  nodeFlags: Object.fromEntries(
    (['etcd-cafile', 'etcd-certfile', 'etcd-keyfile', 'docker-driver', 'probes', 'fast-path'] as const).map(
      (name) => [name, FLANNELD_FLAGS[name]],
    ),
  ),
  asRunning: true,
  async run({ options }, { output, screen }) {
    assertChecks(options.only, SELF_CHECKS, 'self-check');
    const checks = chosen(options.only, SELF_CHECKS);
    if (options.list) {
      listChecks(checks, options.json, output);
      return 0;
    }
    const facts = await lookAtInstallation(options);
    const diagnosis = judge(facts, checks);
    if (options.json) output.print(JSON.stringify(installationJson(facts, diagnosis), undefined, 2));
    else for (const line of formatInstallation({ facts, ...diagnosis }, screen)) output.print(line);
    return diagnosis.findings.length > 0 ? 1 : diagnosis.unknown.length > 0 ? 2 : 0;
  },
});

/** What `--json` prints, here and as a part of doctor's. */
export function installationJson(
  facts: InstallationFacts,
  { checks, findings, consequences, unknown }: Diagnosis,
): unknown {
  return {
    checks,
    wrong: findings.length,
    version: facts.version,
    installed: facts.installed,
    ...(facts.package.kind === 'known' && { package: facts.package.value }),
    filters: facts.filters,
    findings: findings.map((finding) => ({ ...finding, docs: docsOf(finding.id) })),
    consequences,
    unknown,
  };
}
