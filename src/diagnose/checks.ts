import type { Check } from '#src/diagnose/check.ts';
import { DAEMON_CHECKS } from '#src/diagnose/checks/daemon-checks.ts';
import { DEVICE_CHECKS } from '#src/diagnose/checks/device-checks.ts';
import { DOCKER_CHECKS } from '#src/diagnose/checks/docker-checks.ts';
import { ENTRY_CHECKS } from '#src/diagnose/checks/entry-checks.ts';
import { FAST_PATH_CHECKS } from '#src/diagnose/checks/fast-path-checks.ts';
import { FILTER_CHECKS } from '#src/diagnose/checks/filter-checks.ts';
import { FORWARDING_CHECKS } from '#src/diagnose/checks/forwarding-checks.ts';
import { LEASE_CHECKS } from '#src/diagnose/checks/lease-checks.ts';
import { LIMIT_CHECKS } from '#src/diagnose/checks/limit-checks.ts';
import { REACH_CHECKS } from '#src/diagnose/checks/reach-checks.ts';
import { REGISTRY_CHECKS } from '#src/diagnose/checks/registry-checks.ts';
import { ROUTING_CHECKS } from '#src/diagnose/checks/routing-checks.ts';
import { WIREGUARD_CHECKS } from '#src/diagnose/checks/wireguard-checks.ts';

/** All checks, those of what stops everything first: findings are said in this order. */
export const CHECKS: readonly Check[] = [
  ...DEVICE_CHECKS,
  ...FORWARDING_CHECKS,
  ...FILTER_CHECKS,
  ...ROUTING_CHECKS,
  ...ENTRY_CHECKS,
  ...WIREGUARD_CHECKS,
  ...REACH_CHECKS,
  ...DOCKER_CHECKS,
  ...REGISTRY_CHECKS,
  ...LEASE_CHECKS,
  ...LIMIT_CHECKS,
  ...FAST_PATH_CHECKS,
  ...DAEMON_CHECKS,
];
