import type { Check } from '#src/diagnose/check.ts';
import { DOCKER_JSON } from '#src/diagnose/checks/docker-checks.ts';
import { INSTALLED_FILE_CHECKS } from '#src/diagnose/checks/installed-file-checks.ts';
import { INSTALLED_UNIT_CHECKS } from '#src/diagnose/checks/installed-unit-checks.ts';
import type { InstallationFacts } from '#src/diagnose/installation/installation.ts';

/** What may be wrong with what is installed, in the order in which it is said. */
export const INSTALLATION_CHECKS: readonly Check<InstallationFacts>[] = [
  ...INSTALLED_FILE_CHECKS,
  ...INSTALLED_UNIT_CHECKS,
];

/** What `weft self-check` runs: these, and those of a network's that need no network. */
export const SELF_CHECKS: readonly Check<InstallationFacts>[] = [...INSTALLATION_CHECKS, DOCKER_JSON];
